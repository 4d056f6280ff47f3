"""SNS beyond moto: confirmation, filters, and deliveries that happen as AWS makes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moto.core.request import Request

from labkit.localaws import moto_hooks
from labkit.localaws.call import ANONYMOUS, AwsError, Call, Forward, Reply, ServiceLayer
from labkit.localaws.http_server import Answer
from labkit.localaws.services import (
    sns_messages,
    sns_publishing,
    sns_subscriptions,
    sns_topics,
)
from labkit.localaws.services.sns_delivery import Deliverer
from labkit.localaws.services.sns_messages import invalid
from labkit.localaws.services.sns_publishing import Publisher

if TYPE_CHECKING:
    from moto.sns.models import SNSBackend, Subscription, Topic

    from labkit.localaws.server import LocalAws


@dataclass
class _Token:
    """What a confirmation token is good for, until lab time *until*."""

    subscription: Subscription
    until: float
    # The token of an unsubscription brings the subscription back.
    restores: bool = False


class SnsLayer(ServiceLayer):
    """SNS's part of the front door."""

    service = "sns"

    def __init__(self, aws: LocalAws) -> None:
        super().__init__(aws)
        moto_hooks.silence_sns()
        self._signer = sns_messages.Signer(aws.endpoint)
        self.deliverer = Deliverer(aws, self._signer)
        self._tokens: dict[str, _Token] = {}
        self._deleted: dict[str, int] = {}
        self._publisher = Publisher(aws, self.deliverer)
        aws.gateway.pages["/SimpleNotificationService-"] = self._certificate

    # -- topics --------------------------------------------------------------------------------

    def CreateTopic(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A new topic, or the one there is when nothing about it would differ."""
        name = call.params.get("Name") or ""
        given = dict(call.params.get("Attributes") or {})
        fifo = given.get("FifoTopic") == "true"
        sns_topics.check_name(name, fifo)
        for key, value in given.items():
            sns_topics.check_attribute(key, value, fifo, "Attributes Reason: ")
        tags = {tag["Key"]: tag["Value"] for tag in call.params.get("Tags") or ()}
        if len(tags) < len(call.params.get("Tags") or ()):
            raise invalid("Duplicated keys are not allowed.")
        with self.aws.lock("sns", call.account_id):
            backend = self._backend(call)
            arn = f"arn:aws:sns:{call.region}:{call.account_id}:{name}"
            topic = backend.topics.get(arn)
            if topic is not None:
                if sns_topics.differs(topic, given):
                    raise invalid(
                        "Attributes Reason: Topic already exists with different attributes"
                    )
                if tags and tags != topic._tags:
                    raise invalid("Tags Reason: Topic already exists with different tags")
                return {"TopicArn": arn}
            # moto's own check wants to know of FIFO; everything else is set in our spelling.
            topic = backend.create_topic(name, {"FifoTopic": True} if fifo else {}, tags)
            for key, value in given.items():
                sns_topics.set_attribute(topic, key, value)
            return {"TopicArn": topic.arn}

    def GetTopicAttributes(self, call: Call, forward: Forward) -> dict[str, Any]:
        """All of a topic's attributes."""
        with self.aws.lock("sns", call.account_id):
            backend = self._backend(call)
            topic = sns_topics.find(backend, call.params.get("TopicArn"))
            mine = sns_subscriptions.of_topic(backend, topic.arn)
            pending = sum(map(sns_subscriptions.is_pending, mine))
            numbers = {
                "pending": pending,
                "confirmed": len(mine) - pending,
                "deleted": self._deleted.get(topic.arn, 0),
            }
            return {"Attributes": sns_topics.shown(topic, numbers.__getitem__)}

    def SetTopicAttributes(self, call: Call, forward: Forward) -> None:
        """Change one attribute of a topic."""
        name = call.params.get("AttributeName") or ""
        value = call.params.get("AttributeValue") or ""
        with self.aws.lock("sns", call.account_id):
            topic = sns_topics.find(self._backend(call), call.params.get("TopicArn"))
            if name == "FifoTopic":
                raise invalid("AttributeName")
            sns_topics.check_attribute(name, value, topic.fifo_topic)
            sns_topics.set_attribute(topic, name, value)

    def DeleteTopic(self, call: Call, forward: Forward) -> None:
        """Delete a topic with its subscriptions; one that isn't there is no error."""
        arn = call.params.get("TopicArn")
        sns_topics.check_arn(arn)
        with self.aws.lock("sns", call.account_id):
            backend = self._backend(call)
            if str(arn).split(":")[3] != backend.region_name:
                raise invalid("TopicArn")
            if arn in backend.topics:
                backend.delete_topic(arn)
            self._deleted.pop(str(arn), None)
            self._tokens = {
                key: token
                for key, token in self._tokens.items()
                if token.subscription.topic_arn != arn
            }

    def AddPermission(self, call: Call, forward: Forward) -> None:
        """Add a statement to the topic's policy."""
        params = call.params
        actions = params.get("ActionName") or []
        with self.aws.lock("sns", call.account_id):
            topic = sns_topics.find(self._backend(call), params.get("TopicArn"))
            sns_topics.add_permission(
                topic, params.get("Label") or "", params.get("AWSAccountId") or [], actions
            )

    def PutDataProtectionPolicy(self, call: Call, forward: Forward) -> None:
        """Keep a topic's data protection policy; nothing acts on it here."""
        with self.aws.lock("sns", call.account_id):
            topic = sns_topics.find(self._backend(call), call.params.get("ResourceArn"))
            policy = call.params.get("DataProtectionPolicy") or ""
            sns_topics.set_attribute(topic, "DataProtectionPolicy", policy)

    def GetDataProtectionPolicy(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A topic's data protection policy."""
        with self.aws.lock("sns", call.account_id):
            topic = sns_topics.find(self._backend(call), call.params.get("ResourceArn"))
            policy = sns_topics.get_attribute(topic, "DataProtectionPolicy")
        return {"DataProtectionPolicy": policy} if policy else {}

    # -- subscriptions -------------------------------------------------------------------------

    def Subscribe(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A subscription: at once for AWS's own endpoints, after confirmation for others."""
        params = call.params
        protocol, endpoint = params.get("Protocol") or "", params.get("Endpoint") or ""
        given = {key: value for key, value in (params.get("Attributes") or {}).items()}
        with self.aws.lock("sns", call.account_id):
            backend = self._backend(call)
            topic = sns_topics.find(backend, params.get("TopicArn"))
            sns_subscriptions.check_endpoint(protocol, endpoint, topic)
            attributes = sns_subscriptions.read_attributes(
                given, {}, topic, protocol, endpoint, "Attributes Reason: "
            )
            found = next(
                (
                    one
                    for one in sns_subscriptions.of_topic(backend, topic.arn)
                    if (one.protocol, one.endpoint) == (protocol, endpoint)
                ),
                None,
            )
            if found is not None and _differs(found, attributes):
                raise invalid(
                    "Attributes Reason: Subscription already exists with different attributes"
                )
            subscription = found or backend.subscribe(topic.arn, endpoint, protocol)
            if found is None:
                by_hand = protocol in sns_subscriptions.CONFIRMED_BY_HAND
                subscription.attributes = {
                    "Owner": call.account_id,
                    "PendingConfirmation": by_hand,
                    "ConfirmationWasAuthenticated": not by_hand,
                    "SubscriptionPrincipal": call.principal.arn,
                    "RawMessageDelivery": "false",
                    **attributes,
                }
            pending = sns_subscriptions.is_pending(subscription)
            target = sns_subscriptions.target(subscription, topic)
        if pending:
            # Asking again sends the request again.
            self.deliverer.tell(target, "SubscriptionConfirmation", self._token(subscription))
        if pending and str(params.get("ReturnSubscriptionArn", "")).lower() != "true":
            return {"SubscriptionArn": "pending confirmation"}
        return {"SubscriptionArn": subscription.arn}

    def ConfirmSubscription(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Confirm with the token that only the endpoint has seen."""
        arn, given = call.params.get("TopicArn") or "", call.params.get("Token") or ""
        parts = arn.split(":")
        if len(parts) < 6 or parts[2] != "sns" or parts[3] != call.region:
            raise invalid("Topic")
        if not re.fullmatch(r"[0-9a-f]+", given):
            raise AwsError("InvalidParameter", "Invalid token")
        with self.aws.lock("sns", call.account_id):
            token = self._tokens.get(given)
            if token is None or token.subscription.topic_arn != arn:
                raise invalid("Token")
            if token.until < self.aws.clock.now():
                raise invalid("Token")
            subscription = token.subscription
            attributes = subscription.attributes
            attributes["PendingConfirmation"] = False
            signed = call.principal is not ANONYMOUS and call.principal.kind != "anonymous"
            attributes["ConfirmationWasAuthenticated"] = signed
            if signed and str(call.params.get("AuthenticateOnUnsubscribe", "")).lower() == "true":
                attributes["AuthenticateOnUnsubscribe"] = True
            if token.restores:
                self._backend(call).subscriptions[subscription.arn] = subscription
                del self._tokens[given]
            return {"SubscriptionArn": subscription.arn}

    def Unsubscribe(self, call: Call, forward: Forward) -> None:
        """End a subscription; whoever was unsubscribed by a mere link is told."""
        arn = call.params.get("SubscriptionArn") or ""
        if not arn:
            raise invalid("SubscriptionArn Reason: no value for required parameter")
        sns_topics.check_arn(arn, "SubscriptionArn")
        if len(arn.split(":")) < 7 or not re.fullmatch(r"[0-9a-f-]{36}", arn.rpartition(":")[2]):
            raise invalid("SubscriptionId")
        with self.aws.lock("sns", call.account_id):
            backend = self._backend(call)
            subscription = backend.subscriptions.get(arn)
            if subscription is None:
                return
            anonymous = call.principal.kind == "anonymous"
            if anonymous and subscription.attributes.get("AuthenticateOnUnsubscribe"):
                raise AwsError("AuthorizationError", "Not authorized to unsubscribe", 403)
            del backend.subscriptions[arn]
            topic = subscription.topic
            self._deleted[topic.arn] = self._deleted.get(topic.arn, 0) + 1
            by_hand = subscription.protocol in sns_subscriptions.CONFIRMED_BY_HAND
            target = sns_subscriptions.target(subscription, topic)
        if anonymous and by_hand:
            token = self._token(subscription, restores=True)
            self.deliverer.tell(target, "UnsubscribeConfirmation", token)

    def GetSubscriptionAttributes(self, call: Call, forward: Forward) -> dict[str, Any]:
        """All of a subscription's attributes."""
        with self.aws.lock("sns", call.account_id):
            subscription = self._subscription(call)
            return {"Attributes": sns_subscriptions.shown(subscription, subscription.topic)}

    def SetSubscriptionAttributes(self, call: Call, forward: Forward) -> None:
        """Change one attribute of a subscription."""
        name = call.params.get("AttributeName") or ""
        value = call.params.get("AttributeValue") or ""
        with self.aws.lock("sns", call.account_id):
            subscription = self._subscription(call)
            changed = sns_subscriptions.read_attributes(
                {name: value},
                subscription.attributes,
                subscription.topic,
                subscription.protocol,
                subscription.endpoint,
            )
            subscription.attributes.update(changed)

    def ListSubscriptions(self, call: Call, forward: Forward) -> dict[str, Any]:
        """All subscriptions of the account, a hundred at a time."""
        with self.aws.lock("sns", call.account_id):
            return _page(list(self._backend(call).subscriptions.values()), call)

    def ListSubscriptionsByTopic(self, call: Call, forward: Forward) -> dict[str, Any]:
        """A topic's subscriptions, a hundred at a time."""
        with self.aws.lock("sns", call.account_id):
            backend = self._backend(call)
            topic = sns_topics.find(backend, call.params.get("TopicArn"))
            return _page(sns_subscriptions.of_topic(backend, topic.arn), call)

    # -- publishing ----------------------------------------------------------------------------

    def Publish(self, call: Call, forward: Forward) -> Reply | dict[str, Any]:
        """Accept a message; it is delivered afterwards."""
        params = call.params
        arn = params.get("TopicArn") or params.get("TargetArn")
        if params.get("PhoneNumber") and not arn:
            number = params["PhoneNumber"]
            if not re.fullmatch(r"\+?[1-9]\d{1,14}", number):
                raise invalid(f"PhoneNumber Reason: {number} is not valid to publish to")
            reply = forward()
            if reply.ok:
                self.aws.mailbox.deliver(number, "", params.get("Message") or "", sender="SMS")
            return reply
        if arn and ":endpoint/" in arn:
            reply = forward()
            if not reply.ok and b"Endpoint does not exist" in reply.body:
                raise invalid("TargetArn Reason: No endpoint found for the target arn specified")
            return reply
        with self.aws.lock("sns", call.account_id):
            topic = self._topic_to_publish_to(call, arn)
            largest = sns_topics.maximum_bytes(topic)
        text, attributes = params.get("Message") or "", params.get("MessageAttributes") or {}
        if sns_messages.size_in_bytes(text, attributes) > largest:
            raise invalid("Message too long")
        return self._publisher.accept(call, topic, params)

    def PublishBatch(self, call: Call, forward: Forward) -> dict[str, Any]:
        """Accept up to ten messages at once; what is wrong with one refuses them all."""
        entries = call.params.get("PublishBatchRequestEntries") or []
        with self.aws.lock("sns", call.account_id):
            topic = self._topic_to_publish_to(call, call.params.get("TopicArn"))
            largest = sns_topics.maximum_bytes(topic)
        sns_publishing.check_batch(topic, entries, largest)
        done = [
            {"Id": entry["Id"], **self._publisher.accept(call, topic, entry)} for entry in entries
        ]
        return {"Successful": done, "Failed": []}

    # -- how -----------------------------------------------------------------------------------

    def _topic_to_publish_to(self, call: Call, arn: str | None) -> Topic:
        if arn is None:
            raise invalid("TopicArn or TargetArn Reason: no value for required parameter")
        return sns_topics.find(self._backend(call), arn)

    def _backend(self, call: Call) -> SNSBackend:
        """moto's SNS of the caller's account and region: the store of topics and subscriptions.

        Other parts of moto (CloudFormation, tagging) create and look for them there.
        """
        import moto.backends

        return moto.backends.get_backend("sns")[call.account_id][call.region]

    def _subscription(self, call: Call) -> Subscription:
        arn = call.params.get("SubscriptionArn")
        sns_topics.check_arn(arn, "SubscriptionArn")
        found = self._backend(call).subscriptions.get(str(arn))
        if found is None:
            raise AwsError("NotFound", "Subscription does not exist", 404)
        return found

    def _token(self, subscription: Subscription, *, restores: bool = False) -> str:
        token = sns_subscriptions.new_token()
        until = self.aws.clock.now() + sns_subscriptions.TOKEN_SECONDS
        with self.aws.lock("sns", subscription.account_id):
            self._tokens[token] = _Token(subscription, until, restores)
        return token

    def _certificate(self, request: Request) -> Answer:
        """The page behind SigningCertURL."""
        if not self._signer.certificate_url.endswith(request.path):
            return 404, [("Content-Type", "text/plain")], b"no such certificate"
        return 200, [("Content-Type", "application/x-pem-file")], self._signer.certificate


def _differs(subscription: Subscription, attributes: Mapping[str, Any]) -> bool:
    kept = subscription.attributes
    return any(str(kept.get(name, "")) != str(value) for name, value in attributes.items())


def _page(subscriptions: list[Subscription], call: Call) -> dict[str, Any]:
    start = int(call.params.get("NextToken") or 0)
    page = subscriptions[start : start + 100]
    result: dict[str, Any] = {
        "Subscriptions": [
            {
                "SubscriptionArn": "PendingConfirmation"
                if sns_subscriptions.is_pending(one)
                else one.arn,
                "Owner": one.owner,
                "Protocol": one.protocol,
                "Endpoint": one.endpoint,
                "TopicArn": one.topic_arn,
            }
            for one in page
        ]
    }
    if start + 100 < len(subscriptions):
        result["NextToken"] = str(start + 100)
    return result
