"""What a trace says beyond the schema: arguments, results, objects, variables of the model, source lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tcrules.importing.traincheck import values
from tcrules.importing.traincheck.relations import OF_USES, OF_VALUES

if TYPE_CHECKING:
    from tcrules.importing.traincheck.calls import Call
    from tcrules.importing.traincheck.process import Process

NO_VALUES = "arguments of some functions were not traced"
_FRAME = re.compile(r'\s*File "([^"]+)", line (\d+), in (.+)')
#: Frames of libraries, of the interpreter and of the tracer are not the user's.
_FOREIGN = re.compile(r"site-packages|dist-packages|/lib/python3|<frozen|/traincheck/|\\Lib\\")
#: Attributes of a variable that are written with every state, under names of their own.
_OF_STATE = frozenset({"data", "data_hash", "grad", "grad_hash", "requires_grad"})


def class_of(record: dict[str, Any]) -> str:
    """Class of the object that a method is bound to, "" for functions, tensors and where it was not traced."""
    args = record.get("args")
    if not record.get("is_bound_method") or not isinstance(args, dict):
        return ""
    kind, content = values.typed(args.get("0"))
    return "" if values.tensor(content) or kind == "torch.nn.Parameter" else kind


def begin(process: Process, call: Call, record: dict[str, Any]) -> None:
    """Write what the beginning of a call tells."""
    args, kwargs = record.get("args"), record.get("kwargs")
    if not isinstance(args, dict) or not isinstance(kwargs, dict):
        for relation in OF_VALUES:
            process.unsure[relation] = NO_VALUES
    if isinstance(args, dict):
        for place, value in args.items():
            if place == "0" and call.object:
                _object(process, call, value)
            else:
                _value(process, call, "argument", str(place), value)
    if isinstance(kwargs, dict):
        for place, value in kwargs.items():
            _value(process, call, "argument", str(place), value)
    uses = record.get("proxy_obj_names")
    for used in uses if isinstance(uses, list) else ():
        if isinstance(used, list) and len(used) == 2:
            process.seen.update(OF_USES)
            process.write("traincheck_uses", process.ordinal, call.call, str(used[0]), str(used[1]))
    _location(process, call, record.get("stack_trace"))


def end(process: Process, call: Call, record: dict[str, Any]) -> None:
    """Write what the end of a call tells."""
    results = record.get("return_values")
    if isinstance(results, list):
        for place, value in enumerate(results):
            _value(process, call, "result", str(place), value)
    elif results:
        _value(process, call, "result", "", results)


def state(process: Process, record: dict[str, Any], at: int, step: int, stage: str) -> bool:
    """Write the state of a variable; False where it is the same record as the last one of that variable."""
    variable, content = str(record["var_name"]), record["attributes"]
    data = values.fingerprint(content.get("data", content.get("data_hash")))
    gradient = content.get("grad", content.get("grad_hash"))
    has_gradient = gradient is not None or "_TRAINCHECK_grad_ID" in content
    kind, mode, during = (values.text(record.get(name) or "") for name in ("var_type", "mode", "dump_loc"))
    found = (kind, mode, during, stage, step, at, data, values.fingerprint(gradient), has_gradient,
             content.get("requires_grad") is True)  # fmt: skip
    if not process.changed(("state", variable), repr(found)):
        return False
    process.write("traincheck_state", process.ordinal, variable, *found)
    plain = {
        name: value
        for name, value in content.items()
        if not (name in _OF_STATE and not isinstance(value, dict))
    }
    for name, shown in values.attributes(plain).items():
        if process.changed(("variable", variable, name), shown):
            process.write("traincheck_variable", process.ordinal, variable, name, shown, step, at)
    return True


def _object(process: Process, call: Call, value: object) -> None:
    kind, content = values.typed(value)
    for name, shown in values.attributes(content).items():
        if process.changed(("object", call.object, name), shown):
            process.write(
                "traincheck_object", process.ordinal, call.object, kind, name, shown, call.call, call.step
            )


def _value(process: Process, call: Call, role: str, place: str, value: object) -> None:
    kind, content = values.typed(value)
    where = (process.ordinal, call.call, role, place)
    described = values.tensor(content)
    shown = values.text(content, place) if values.is_plain(content) else ""
    process.write("traincheck_value", *where, kind, shown)
    if described is not None and isinstance(content, dict):
        process.write("traincheck_tensor", *where, *described)
        more = values.properties(content)
    else:
        more = values.attributes(content)
    for name, text in more.items():
        process.write("traincheck_attribute", *where, name, text)


def _location(process: Process, call: Call, stack: object) -> None:
    """The innermost line of the user's, where stack traces were collected."""
    for frame in reversed(stack) if isinstance(stack, list) else ():
        found = _FRAME.match(frame) if isinstance(frame, str) else None
        if found is not None and not _FOREIGN.search(found[1]):
            process.seen.add("location")
            process.write("location", process.ordinal, call.call, found[1], int(found[2]), found[3].strip())
            return
