"""Proofs on SNS: fan-out, filters, raw delivery, permissions, dead letters, FIFO, e-mail."""

from __future__ import annotations

import json

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of
from labkit.exam_proofs.policies import allow, policy


def _bodies(messages: list[dict]) -> list[str]:
    """The published texts, taken out of SNS's envelopes."""
    return sorted(json.loads(message["Body"])["Message"] for message in messages)


def fan_out(aws: Bench) -> Observations:
    """sns-01: each subscribed queue gets its own copy; consumers of one queue share its messages."""
    sns, sqs, see = aws.client("sns"), aws.client("sqs"), Observations()
    topic = aws.topic("paid")
    queues = [aws.queue(service) for service in ("shipping", "billing", "loyalty")]
    for queue in queues:
        aws.subscribe(topic, queue)
    sns.publish(TopicArn=topic, Message="order 7")
    see(
        "Copies in the three queues",
        [_bodies(aws.messages(queue, at_least=1)) for queue in queues],
        [["order 7"]] * 3,
        supports="topic-and-queues",
    )
    shared = aws.queue("shared")
    sqs.send_message(QueueUrl=shared, MessageBody="order 7")
    see(
        "Three consumers of one queue get",
        [len(sqs.receive_message(QueueUrl=shared).get("Messages", [])) for _ in range(3)],
        [1, 0, 0],
        refutes="shared-queue",
    )
    return see


def filter_policy(aws: Bench) -> Observations:
    """sns-02: a subscription's filter policy chooses by message attributes before delivery."""
    sns, sqs, see = aws.client("sns"), aws.client("sqs"), Observations()
    topic = aws.topic("orders")
    every, chosen = aws.queue("every"), aws.queue("chosen")
    aws.subscribe(topic, every)
    aws.subscribe(topic, chosen, FilterPolicy={"region": ["eu"]})
    for region in ("us", "eu", "ap"):
        attribute = {"DataType": "String", "StringValue": region}
        sns.publish(
            TopicArn=topic, Message=f"from {region}", MessageAttributes={"region": attribute}
        )
    see("Without a filter", len(aws.messages(every, at_least=3)), 3)
    see("With a filter", _bodies(aws.messages(chosen)), ["from eu"], supports="filter-policy")

    plain = aws.queue("plain")
    sqs.send_message(QueueUrl=plain, MessageBody="no attributes at all")
    received = sqs.receive_message(QueueUrl=plain, MessageAttributeNames=["region"])
    see(
        "A receive that names the attribute still returns",
        received["Messages"][0]["Body"],
        "no attributes at all",
        refutes="receive-filter",
    )
    return see


def filter_on_body(aws: Bench) -> Observations:
    """sns-03: with the scope MessageBody the policy is compared with the JSON body."""
    sns, see = aws.client("sns"), Observations()
    topic = aws.topic("events")
    refunds = {"type": ["refund"]}
    by_default, raw, by_body = aws.queue("default"), aws.queue("raw"), aws.queue("body")
    aws.subscribe(topic, by_default, FilterPolicy=refunds)
    aws.subscribe(topic, raw, FilterPolicy=refunds, RawMessageDelivery="true")
    aws.subscribe(topic, by_body, FilterPolicy=refunds, FilterPolicyScope="MessageBody")
    for kind in ("refund", "sale"):
        sns.publish(TopicArn=topic, Message=json.dumps({"type": kind, "amount": 12}))
    found = _bodies(aws.messages(by_body, at_least=1))
    see("Scope MessageBody", found, ['{"type": "refund", "amount": 12}'], supports="body-scope")
    see("Default scope", aws.messages(by_default), [])
    see("Default scope, raw delivery", aws.messages(raw), [], refutes="raw")
    return see


def raw_delivery(aws: Bench) -> Observations:
    """sns-04: raw delivery puts the published text into the body, without the envelope."""
    sns, see = aws.client("sns"), Observations()
    topic = aws.topic("orders")
    wrapped, raw = aws.queue("wrapped"), aws.queue("raw")
    aws.subscribe(topic, wrapped)
    aws.subscribe(topic, raw, RawMessageDelivery="true")
    structured = json.dumps({"default": "none", "sqs": '{"order_id": 7}'})
    sns.publish(TopicArn=topic, Message='{"order_id": 7}')
    body = json.loads(aws.messages(wrapped, at_least=1)[0]["Body"])
    see("Keys of the body by default", sorted(body), lambda keys: "order_id" not in keys)
    body = json.loads(aws.messages(raw, at_least=1)[0]["Body"])
    see("The body with raw delivery", body, {"order_id": 7}, supports="raw-delivery")

    sns.publish(TopicArn=topic, Message=structured, MessageStructure="json")
    body = json.loads(aws.messages(wrapped, at_least=1)[0]["Body"])
    see(
        "Keys with MessageStructure json",
        sorted(body),
        lambda keys: "order_id" not in keys and "Message" in keys,
        refutes="message-structure",
    )
    sns.publish(
        TopicArn=topic,
        Message='{"order_id": 8}',
        MessageAttributes={
            "Content-Type": {"DataType": "String", "StringValue": "application/json"}
        },
    )
    body = json.loads(aws.messages(wrapped, at_least=1)[0]["Body"])
    see(
        "Keys with a content type attribute",
        sorted(body),
        lambda keys: "order_id" not in keys,
        refutes="content-type",
    )
    return see


def queue_policy(aws: Bench) -> Observations:
    """sns-05: SNS sends as a service; without the queue's leave nothing arrives, silently."""
    sns, sqs, see = aws.client("sns"), aws.client("sqs"), Observations()
    topic, queue = aws.topic("news"), aws.queue("silent")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=aws.queue_arn(queue))
    publisher = aws.client(
        "sns", aws.user("publisher", allow("sns:Publish", topic), allow("sqs:SendMessage"))
    )
    answer = publisher.publish(TopicArn=topic, Message="one")
    see("Publishing answers", answer["ResponseMetadata"]["HTTPStatusCode"], 200)
    see(
        "In the queue, though the publisher may send to it",
        aws.messages(queue),
        [],
        refutes="publisher-permission",
    )
    aws.topic_may_send(topic, queue)
    sns.publish(TopicArn=topic, Message="two")
    see(
        "With a statement for SNS in the queue's policy",
        _bodies(aws.messages(queue, at_least=1)),
        ["two"],
        supports="queue-policy",
        refutes="topic-policy service-role",
    )
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})
    sns.publish(TopicArn=topic, Message="three")
    see("With the statement taken away", aws.messages(queue), [], supports="queue-policy")
    return see


def source_arn(aws: Bench) -> Observations:
    """sns-06: aws:SourceArn lets one topic through and no other."""
    sns, sqs, see = aws.client("sns"), aws.client("sqs"), Observations()
    mine, other, queue = aws.topic("mine"), aws.topic("other"), aws.queue("orders")
    for topic in (mine, other):
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=aws.queue_arn(queue))

    def arrivals(**statement) -> list[str]:
        document = policy(allow("sqs:SendMessage", aws.queue_arn(queue), **statement))
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": document})
        sns.publish(TopicArn=mine, Message="from mine")
        sns.publish(TopicArn=other, Message="from other")
        return _bodies(aws.messages(queue))

    service = {"Service": "sns.amazonaws.com"}
    see("No condition", arrivals(Principal=service), ["from mine", "from other"])
    see(
        "aws:SourceArn",
        arrivals(Principal=service, Condition={"ArnEquals": {"aws:SourceArn": mine}}),
        ["from mine"],
        supports="source-arn",
    )
    see(
        "aws:PrincipalArn",
        arrivals(Principal=service, Condition={"ArnEquals": {"aws:PrincipalArn": mine}}),
        [],
        refutes="principal-arn",
    )
    see(
        "aws:SecureTransport",
        arrivals(Principal=service, Condition={"Bool": {"aws:SecureTransport": "true"}}),
        ["from mine", "from other"],
        refutes="secure-transport",
    )
    document = policy(
        allow("sqs:SendMessage", aws.queue_arn(queue), Principal={"AWS": mine}),
    )
    see(
        "The topic as principal",
        error_of(sqs.set_queue_attributes, QueueUrl=queue, Attributes={"Policy": document}),
        "InvalidAttributeValue",
        refutes="topic-principal",
    )
    return see


def subscription_dlq(aws: Bench) -> Observations:
    """sns-07: the subscription's dead-letter queue keeps what could not be delivered."""
    sns, sqs, see = aws.client("sns"), aws.client("sqs"), Observations()
    topic, undelivered = aws.topic("news"), aws.queue("undelivered")
    queue_dead = aws.queue("queue-dead")
    target = {"deadLetterTargetArn": aws.queue_arn(queue_dead), "maxReceiveCount": 1}
    gone = aws.queue("gone", RedrivePolicy=target, MessageRetentionPeriod=14 * 24 * 3600)
    aws.topic_may_send(topic, undelivered)
    aws.subscribe(topic, gone, RedrivePolicy={"deadLetterTargetArn": aws.queue_arn(undelivered)})
    sqs.delete_queue(QueueUrl=gone)
    sns.publish(TopicArn=topic, Message="to nobody")
    found = aws.messages(undelivered, at_least=1)
    see(
        "In the subscription's dead-letter queue",
        ["to nobody" in message["Body"] for message in found],
        [True],
        supports="subscription-redrive",
    )
    see(
        "In the dead-letter queue of the deleted queue",
        aws.messages(queue_dead),
        [],
        refutes="queue-dlq longer-retention",
    )
    return see


def fifo_topic(aws: Bench) -> Observations:
    """sns-08: a FIFO queue needs a FIFO topic, which orders and deduplicates by group."""
    sns, see = aws.client("sns"), Observations()
    fifo = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    standard, ordered = aws.topic("standard"), aws.topic("ordered.fifo", **fifo)
    queue = aws.queue("ordered.fifo", FifoQueue="true")
    see(
        "A FIFO queue to a standard topic",
        error_of(sns.subscribe, TopicArn=standard, Protocol="sqs", Endpoint=aws.queue_arn(queue)),
        "InvalidParameter",
    )
    see(
        "The same with raw delivery",
        error_of(
            sns.subscribe,
            TopicArn=standard,
            Protocol="sqs",
            Endpoint=aws.queue_arn(queue),
            Attributes={"RawMessageDelivery": "true"},
        ),
        "InvalidParameter",
        refutes="raw-delivery",
    )
    see(
        "FifoTopic on the standard topic",
        error_of(
            sns.set_topic_attributes,
            TopicArn=standard,
            AttributeName="FifoTopic",
            AttributeValue="true",
        ),
        "InvalidParameter",
        refutes="fifo-attribute",
    )
    aws.subscribe(ordered, queue, RawMessageDelivery="true")
    for text in ("first", "second", "first"):
        sns.publish(TopicArn=ordered, Message=text, MessageGroupId="g")
    found = [message["Body"] for message in aws.messages(queue, at_least=2)]
    see(
        "Published to a FIFO topic: first, second, first",
        found,
        ["first", "second"],
        supports="fifo-topic",
    )
    return see


def email_confirmation(aws: Bench) -> Observations:
    """sns-09: an e-mail subscription is pending until its owner follows the link."""
    sns, see = aws.client("sns"), Observations()
    topic, address = aws.topic("alarms"), f"{aws.prefix}@example.com"
    answer = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=address)
    see("Subscribe answers", answer["SubscriptionArn"], "pending confirmation")
    sns.publish(TopicArn=topic, Subject="ALARM", Message="one")
    aws.lab.settle()
    mailbox = aws.lab.mailbox
    see(
        "Mails before the confirmation, without the request for it",
        [m.body for m in mailbox.mails(address) if not m.confirmation],
        [],
        supports="confirm",
    )
    see("Requests for confirmation", len(mailbox.mails(address)), 1)
    aws.defer(sns.unsubscribe, SubscriptionArn=mailbox.confirm(sns, topic))
    sns.publish(TopicArn=topic, Subject="ALARM", Message="two")
    aws.lab.settle()
    see(
        "Mails after it",
        ["two" in m.body for m in mailbox.mails(address) if not m.confirmation],
        [True],
        supports="confirm",
        refutes="topic-policy verify-identity text-attribute",
    )
    return see


def message_structure(aws: Bench) -> Observations:
    """sns-10: with MessageStructure json each protocol gets its own text from one call."""
    sns, see = aws.client("sns"), Observations()
    topic, queue = aws.topic("orders"), aws.queue("machines")
    address = f"{aws.prefix}@example.com"
    aws.subscribe(topic, queue, RawMessageDelivery="true")
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=address)
    aws.lab.settle()
    aws.defer(sns.unsubscribe, SubscriptionArn=aws.lab.mailbox.confirm(sns, topic))
    texts = {"default": "-", "email": "Order 7 was paid.", "sqs": '{"order_id": 7}'}
    sns.publish(TopicArn=topic, Message=json.dumps(texts), MessageStructure="json")
    body = aws.messages(queue, at_least=1)[0]["Body"]
    see("The queue gets", body, '{"order_id": 7}', supports="message-structure")
    mails = [mail.body for mail in aws.lab.mailbox.mails(address) if not mail.confirmation]
    see(
        "The mail says",
        ["Order 7 was paid." in text and "order_id" not in text for text in mails],
        [True],
        supports="message-structure",
    )
    sns.publish(
        TopicArn=topic,
        Message="Order 8 was paid.",
        MessageAttributes={
            "document": {"DataType": "String", "StringValue": '{"order_id": 8}'},
        },
    )
    body = aws.messages(queue, at_least=1)[0]["Body"]
    see(
        "With the document as attribute, the queue's body",
        body,
        "Order 8 was paid.",
        refutes="attributes",
    )
    return see
