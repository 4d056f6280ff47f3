"""That the Lambda layer answers every operation itself."""

from __future__ import annotations

from functions_support import Bench, bench, refusal

from labkit.localaws import protocol

__all__ = ["bench"]


def test_what_is_not_built_says_so_and_never_reaches_moto(bench: Bench) -> None:
    code, status, message = refusal(bench.client().list_capacity_providers)
    assert (code, status) == ("NotImplemented", 501)
    assert "ListCapacityProviders" in str(message)


def test_every_operation_of_the_model_is_built_or_refused(bench: Bench) -> None:
    model = protocol.service_model("lambda")
    assert model is not None
    unbuilt = {
        name
        for name in model.operation_names
        if bench.layer.handler(name) == bench.layer._unbuilt
    }
    assert all(
        any(word in name for word in ("Durable", "CapacityProvider", "ScalingConfig"))
        for name in unbuilt - {"GetResourcePolicy", "PutResourcePolicy", "DeleteResourcePolicy"}
    ), unbuilt
