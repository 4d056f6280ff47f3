"""The environment variables of an execution environment, and nothing of the learner's own.

Names and values follow the Lambda Developer Guide, "Working with Lambda environment variables",
section "Defined runtime environment variables".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from labkit.localaws.runtime.version import FunctionVersion

_LIBRARY_PATH = (
    "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
)
_PATH = "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"


def environment_variables(
    version: FunctionVersion,
    *,
    credentials: Mapping[str, object],
    endpoint_url: str,
    runtime_api: str,
    log_stream: str,
    initialization_type: str,
    task_root: str = "/var/task",
    runtime_dir: str = "/var/runtime",
    layers: str = "/opt",
    private_tmp: str | None = None,
) -> dict[str, str]:
    """All variables of one environment; the function's own never replace the reserved ones.

    *credentials* has the keys of an STS answer (``AccessKeyId``, ``SecretAccessKey``,
    ``SessionToken``). *private_tmp* is given where ``/tmp`` itself is not private.
    """
    defaults = {
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": _PATH,
        "LD_LIBRARY_PATH": _LIBRARY_PATH,
        "PYTHONPATH": runtime_dir,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        # The local AWS in AWS's place. Anything a function overrides here is its own affair.
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
        # Without credentials a client gives up at once: there is no instance metadata here.
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if private_tmp:
        defaults.update(TMPDIR=private_tmp, TEMP=private_tmp, TMP=private_tmp, HOME=private_tmp)
        # The learner's home can be seen: its configuration must not count.
        defaults.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    if layers != "/opt":
        defaults["PATH"] = os.pathsep.join([os.path.join(layers, "bin"), os.defpath])
        defaults["LD_LIBRARY_PATH"] = os.pathsep.join(
            [os.path.join(task_root, "lib"), os.path.join(layers, "lib")]
        )
    if sys.platform == "win32":
        for name in ("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "PATHEXT", "COMSPEC"):
            if name in os.environ:
                defaults[name] = os.environ[name]
    reserved = {
        "_HANDLER": version.handler,
        "AWS_DEFAULT_REGION": version.region,
        "AWS_REGION": version.region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{version.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": version.function_name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(version.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": version.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": initialization_type,
        "AWS_LAMBDA_LOG_GROUP_NAME": version.log_group_name,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_ACCESS_KEY_ID": str(credentials["AccessKeyId"]),
        "AWS_SECRET_ACCESS_KEY": str(credentials["SecretAccessKey"]),
        "AWS_SESSION_TOKEN": str(credentials.get("SessionToken") or ""),
        "LAMBDA_TASK_ROOT": task_root,
        "LAMBDA_RUNTIME_DIR": runtime_dir,
    }
    if version.log_format == "JSON":
        reserved["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        reserved["AWS_LAMBDA_LOG_LEVEL"] = version.application_log_level or "INFO"
    return {**defaults, **version.environment, **reserved}
