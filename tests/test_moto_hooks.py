"""moto is bent in a few places; these tests fail when moto changes under one of them."""

from __future__ import annotations

import inspect

from moto.dynamodb import models as dynamodb_models
from moto.dynamodb.models import table as dynamodb_table
from moto.events import models as events_models
from moto.iam import models as iam_models
from moto.iam.access_control import PermissionResult
from moto.logs import models as logs_models
from moto.moto_server import werkzeug_app
from moto.s3 import models as s3_models
from moto.s3 import notifications as s3_notifications
from moto.s3 import responses as s3_responses
from moto.s3 import utils as s3_utils
from moto.sns import models as sns_models

from labkit.localaws import moto_hooks


def source(thing: object) -> str:
    """The source of a part of moto, unbent."""
    return inspect.getsource(inspect.getmodule(thing))


def test_the_flag_that_keeps_cross_origin_headers_away():
    assert isinstance(werkzeug_app.DISABLE_GLOBAL_CORS, bool)
    assert "DISABLE_GLOBAL_CORS" in inspect.getsource(werkzeug_app.create_backend_app)
    before = werkzeug_app.DISABLE_GLOBAL_CORS
    app = moto_hooks.create_backend_app("sqs")
    assert app.config["PROPAGATE_EXCEPTIONS"] is True and not app.debug
    assert before == werkzeug_app.DISABLE_GLOBAL_CORS
    assert not app.after_request_funcs


def test_s3_calls_what_is_silenced_through_its_module():
    text = source(s3_models)
    assert "notifications.send_event(" in text
    assert "notifications.send_test_event(" in text
    assert "events_send_notification(" in text
    assert "import send_event" not in text and "import send_test_event" not in text
    for name in ("send_event", "send_test_event"):
        assert callable(getattr(s3_notifications, name))


def test_s3_asks_its_bucket_about_permissions_and_nobody_else():
    assert "bucket.get_permission(" in source(s3_responses)
    assert callable(s3_models.FakeBucket.get_permission)
    assert {"PERMITTED", "DENIED"} <= set(PermissionResult.__members__)


def test_a_delete_marker_cannot_be_disposed_of_by_moto_itself():
    assert "dispose" not in inspect.getsource(s3_models.FakeDeleteMarker)
    assert "is_versioned" in inspect.getsource(s3_models.S3Backend.delete_object)
    assert "version.dispose()" in inspect.getsource(s3_utils._VersionedKeyStore.pop)


def test_an_uploaded_form_is_no_form():
    app = moto_hooks.create_backend_app("s3")
    form = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
    for method, is_form in (("PUT", False), ("POST", True)):
        request = app.request_class({"REQUEST_METHOD": method, **form})
        assert request.want_form_data_parsed is is_form


def test_sns_delivers_through_its_subscriptions():
    publish = inspect.getsource(sns_models.Topic.publish)
    assert "subscription.publish(" in publish
    assert callable(sns_models.Subscription.publish)


def test_events_deliver_through_their_rules():
    assert "rule.send_to_targets(" in source(events_models)
    assert callable(events_models.Rule.send_to_targets)


def test_log_events_all_go_through_the_stream():
    assert list(inspect.signature(logs_models.LogStream.put_log_events).parameters) in (
        ["self", "log_events"],
        ["stream", "log_events"],
    )
    text = source(logs_models)
    assert "stream.put_log_events(" in text or ".put_log_events(log_events)" in text
    assert "self.upload_sequence_token" in text


def test_iam_takes_its_checks_and_ids_from_where_they_are_replaced():
    text = source(iam_models)
    for name in (
        "IAMPolicyDocumentValidator(",
        "IAMTrustPolicyDocumentValidator(",
        "random_policy_id()",
        "self._init_managed_policies()",
        "self._init_aws_policies()",
    ):
        assert name in text
    assert "class User(" in text and "class Group(" in text


def test_what_is_silenced_says_nothing(monkeypatch):
    for module, name in (
        (s3_notifications, "send_event"),
        (s3_notifications, "send_test_event"),
        (s3_models, "events_send_notification"),
        (s3_models.FakeBucket, "get_permission"),
        (sns_models.Subscription, "publish"),
        (events_models.Rule, "send_to_targets"),
    ):
        # Remembered, and put back after the test.
        monkeypatch.setattr(module, name, getattr(module, name))
    moto_hooks.silence_s3()
    moto_hooks.silence_sns()
    moto_hooks.silence_events()
    assert s3_notifications.send_event("account", "event", None, None) is None
    assert s3_notifications.send_test_event("account", None) is None
    assert s3_models.events_send_notification(source="aws.s3") is None
    bucket = object.__new__(s3_models.FakeBucket)
    assert bucket.get_permission("s3:GetObject", "x") is PermissionResult.PERMITTED
    assert object.__new__(sns_models.Subscription).publish("x", "y") is None
    assert object.__new__(events_models.Rule).send_to_targets({}) is None


def test_tables_make_their_stream_shards_by_the_name_that_is_replaced():
    text = source(dynamodb_table)
    assert "self.stream_shard = StreamShard(self.account_id, self)" in text
    assert "self.latest_stream_label = utcnow().isoformat()" in text
    # The label is set before the shard is made, which replaces it.
    assert text.index("self.latest_stream_label = utcnow()") < text.index("= StreamShard(")
    assert text.count("stream_shard.add(") == 2
    assert "table.stream_shard.add(orig_item, item)" in source(dynamodb_models.DynamoDBBackend)


def test_a_transaction_copies_tables_and_puts_the_copies_back():
    text = inspect.getsource(dynamodb_models.DynamoDBBackend.transact_write_items)
    assert "copy.deepcopy(" in text
    assert "self.tables[table_name] = original_table_state[table_name]" in text
