"""What a trace holds beyond the schema: relations of the user, declared in `rules/imports/traincheck.tcr`."""

from __future__ import annotations

from tcrules.instrument.schema import RANK, TYPES, Column, Relation


def _define(name: str, doc: str, columns: str) -> Relation:
    """Build a relation from lines `name type meaning`; all of them have a rank."""
    parsed = [Column(*line.split(None, 2)) for line in columns.strip().splitlines()]
    return Relation(name, "traincheck", 5, doc, (RANK, *parsed))


# fmt: off
RELATIONS: tuple[Relation, ...] = (
    _define("traincheck_call", "A call as the trace describes it; `call` says when.", """
        call call the call
        function string the name in the trace, e.g. torch.optim.adam.Adam.step
        thread int operating system id
        stage string stage that the script was annotated with, "" = none
        exception string class of the exception that it raised, "" = none
        """),
    _define("traincheck_unpaired", "A call of which the trace has only one end.", """
        call call the call; the end that is missing lies where the enclosing call, or the other end, does
        missing string begin or end
        step step when
        """),
    _define("traincheck_value", "An argument or a result of a call.", """
        call call the call
        role string argument or result
        place string position or keyword of an argument; position in a tuple of results, "" for a single one
        type string class
        value string as text, "" for objects
        """),
    _define("traincheck_tensor", "A tensor among the arguments and results of a call.", """
        call call the call
        role string argument or result
        place string as in traincheck_value
        dtype string e.g. float32
        shape string e.g. 64x10
        device string cpu, cuda, …; "" = unknown
        requires_grad bool gradients are recorded for it
        leaf bool it was not computed from tensors that require gradients
        """),
    _define("traincheck_attribute", "An attribute of an object among arguments and results.", """
        call call the call
        role string argument or result
        place string as in traincheck_value
        attribute string name
        value string as text
        """),
    _define("traincheck_object", "An attribute of the object that a method acts on, when it is new or has changed.", """
        object string class and ordinal; the column `object` of call
        class string qualified name of its class
        attribute string name
        value string as text
        call call the call that began with it
        step step when
        """),
    _define("traincheck_uses", "A variable of the model was among the arguments of a call.", """
        call call the call
        variable string name
        type string class
        """),
    _define("traincheck_state", "A variable of the model was looked at.", """
        variable string name, e.g. model.fc1.weight
        type string class, e.g. torch.nn.Parameter
        mode string why: update, pre_observe, post_observe, sample, …
        during string function or assignment that was the occasion
        stage string stage that the script was annotated with, "" = none
        step step when
        at time when
        data fingerprint TrainCheck's hash of the value: of its first row only, rounded; 0 = not in the trace
        gradient fingerprint the same for its gradient, 0 = none
        has_gradient bool it has a gradient
        trainable bool requires_grad
        """),
    _define("traincheck_variable", "An attribute of a variable, when it is new or has changed.", """
        variable string name
        attribute string name, e.g. dtype
        value string as text
        step step when
        at time when
        """),
    _define("traincheck_meta", "A meta variable of a process, when it is new or has changed.", """
        name string e.g. stage
        value string as text
        step step when
        at time when
        """),
)
# fmt: on
NAMES = tuple(relation.name for relation in RELATIONS)
#: Those that a trace has only if it was collected so, and what is then in it.
OF_VALUES = ("traincheck_value", "traincheck_tensor", "traincheck_attribute", "traincheck_object")
OF_STATES = ("traincheck_state", "traincheck_variable")
OF_USES = ("traincheck_uses",)


def types(relation: Relation) -> dict[str, str]:
    """Base types of the columns."""
    return {column.name: TYPES[column.type] for column in relation.columns}


def declarations() -> str:
    """The text of `traincheck.tcr`."""
    lines = [
        "// What a trace of TrainCheck holds beyond the relations of tcrules: `tcrules import traincheck`."
    ]
    for relation in RELATIONS:
        columns = ", ".join(f"{column.name}: {column.type}" for column in relation.columns)
        meanings = [f"/// {column.name}: {column.doc}" for column in relation.columns[1:]]
        lines += ["", f"/// {relation.doc}", "///", *meanings, f"relation {relation.name}({columns})"]
    return "\n".join(lines) + "\n"
