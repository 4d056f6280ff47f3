"""Every proof of the question bank, run: the right answer holds, a tempting one does not."""

from __future__ import annotations

import pytest

from labkit.exam_proofs import Observations, ProofFailed, find, run
from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import error_of
from labkit.exam_proofs.policies import allow, policy
from labkit.teaching.questions import load_questions

PROVEN = [question for question in load_questions() if question.proof]


@pytest.mark.parametrize("question", PROVEN, ids=lambda question: question.proof)
def test_proof(question, lab):
    observations = run(question.proof, lab)
    supported = {name for seen in observations for name in seen.supports}
    refuted = {name for seen in observations for name in seen.refutes}
    assert supported == {option.name for option in question.right}
    assert refuted and refuted <= {option.name for option in question.wrong}


def test_each_proof_belongs_to_one_question_and_says_so():
    assert len({question.proof for question in PROVEN}) == len(PROVEN)
    for question in PROVEN:
        proof = find(question.proof)
        assert proof.__doc__.startswith(f"{question.id}: "), question.proof


def test_an_unknown_proof_is_an_error():
    for reference in ("sqs:nothing", "nothing:sqs", "sqs"):
        with pytest.raises(LookupError):
            find(reference)


def test_proofs_leave_nothing_behind(lab):
    sqs, iam, s3 = (lab.client(service) for service in ("sqs", "iam", "s3"))

    def there() -> set[str]:
        return {
            *sqs.list_queues(QueueNamePrefix="proof-").get("QueueUrls", []),
            *(user["UserName"] for user in iam.list_users()["Users"]),
            *(role["RoleName"] for role in iam.list_roles()["Roles"]),
            *(bucket["Name"] for bucket in s3.list_buckets()["Buckets"]),
        }

    before = there()
    for reference in ("sqs:dead_letter_queue", "sns:fan_out", "s3_access:bucket_deny"):
        run(reference, lab)
    assert there() == before


def test_what_a_proof_made_goes_when_it_fails(lab):
    with pytest.raises(ProofFailed), Bench(lab) as bench:
        url = bench.queue("doomed")
        Observations()("one is two", 1, 2)
    sqs = lab.client("sqs")
    name = url.rsplit("/", 1)[1]
    assert "NonExistent" in error_of(sqs.get_queue_url, QueueName=name)


def test_a_step_that_is_otherwise_fails_the_proof():
    see = Observations()
    assert see("two", 2, 2, supports="a", refutes="b c") == 2
    assert see("three", 3, lambda n: n > 2) == 3
    assert see[0].supports == ("a",) and see[0].refutes == ("b", "c")
    assert str(see[0]) == "two: 2; supports a; refutes b, c"
    with pytest.raises(ProofFailed, match="four: saw 4, expected 5"):
        see("four", 4, 5)
    with pytest.raises(ProofFailed, match="five: saw 5, it is otherwise"):
        see("five", 5, lambda n: n > 5)
    assert len(see) == 2


def test_errors_are_told_by_their_code(lab):
    sqs = lab.client("sqs")
    assert error_of(sqs.list_queues) == "no error"
    assert error_of(sqs.list_queues, Colour="green") == "ParamValidationError"


def test_policies_are_written_shortly():
    assert policy(allow("s3:GetObject s3:PutObject", "arn:aws:s3:::b/*")) == (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": '
        '["s3:GetObject", "s3:PutObject"], "Resource": ["arn:aws:s3:::b/*"]}]}'
    )
