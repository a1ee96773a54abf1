"""A folder that keeps finished pieces of unfinished work, so that it can go on after a stop."""

import json
from pathlib import Path
from typing import Any

from primus_jax.errors import PrimusError
from primus_jax.files import replace_file

IDENTITY = "identity.json"


def open_work_folder(work: Path, identity: dict[str, Any]) -> Path:
    """Make the folder, or go on in one of the same identity; remove what killed writers left.

    Args:
        work: beside the result, as `NAME.partial`.
        identity: JSON values on which the pieces depend, by a name that a person understands.

    Raises:
        PrimusError: the folder holds something else, is of another identity (the message names
            the value), or cannot be used.
    """
    file = work / IDENTITY
    try:
        work.mkdir(parents=True, exist_ok=True)
        for left in work.glob(".*"):
            left.unlink(missing_ok=True)
        if not file.is_file():
            if any(work.iterdir()):
                raise PrimusError(f"{work} is not a work folder of primus-jax. Move it away.")
            with replace_file(file) as temporary:
                temporary.write_text(json.dumps(identity, indent=1), encoding="utf-8")
        before = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise PrimusError(f"cannot work in {work}: {error}") from error
    for key in sorted({*before, *identity}):
        if before.get(key) != identity.get(key):
            raise PrimusError(
                f"{work} holds unfinished work with another {key}: {before.get(key)!r}, now "
                f"{identity.get(key)!r}. Go on with the options of then, or delete that folder to "
                f"start anew."
            )
    return work
