"""What device tensors hold, without waiting for the device.

A probe asks for fingerprints, norms and numbers of tensors, and says how facts are made of them (`Ask.then`). What
computes them is enqueued on the current stream, so that it sees the values of this point of the program; the results of
a point are copied to the host by one copy, behind which lies a mark. Facts are written when the device has passed it,
in the order in which they were asked for, with the step and the time of then; tensors in host memory are read at once.

Nothing waits: where too much is on its way, or a graph is captured, what is asked stays unknown, and a gap says so.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from tcrules.instrument.fingerprint import of_rows
from tcrules.instrument.probes import values
from tcrules.instrument.probes.reductions import Answer, Columns, Finite, Quiet, Work
from tcrules.instrument.sums import factors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tcrules.instrument.probes.cuda import Kit
    from tcrules.instrument.probes.models import Param
    from tcrules.instrument.probes.reductions import Asked, Number

#: Points whose results may be on their way: some 20 steps. Beyond it nothing is asked for.
MAX_PENDING = 256
#: Bytes of results that may be on their way, in pinned memory: of 8 GB of tensors.
MAX_BYTES = 32 << 20
#: Seconds that are waited for results at the end of a run, when it may be waited.
PATIENCE_S = 10.0
WHY_MANY = "more was asked of devices than they have answered"
WHY_CAPTURED = "a CUDA graph is captured: what is run from it later is not seen"
WHY_LATE = "devices did not answer before the end"


@dataclass(slots=True, eq=False)
class Entry:
    """Facts that wait for results, and for those before them."""

    probe: str
    write: Callable[..., None]
    args: tuple[Any, ...]
    works: list[Work] = field(default_factory=list)
    #: Parameters of which it is asked whether they are finite.
    finite: list[tuple[Param, Answer]] = field(default_factory=list)
    #: Why nothing is asked.
    why: str = ""

    @property
    def size(self) -> int:
        """Bytes of its results."""
        return sum(work.result.nbytes for work in self.works)


class Late:
    """What was asked of devices in a process and is not written yet.

    Attributes:
        why: reason of what the facts that are being written do not know.
    """

    def __init__(self, kit: Kit, safely: Callable[..., None], spent: Callable[[float], None]) -> None:
        self.kit = kit
        self.why = values.WHY_DEVICE
        self._safely, self._spent = safely, spent
        self._queue: deque[Entry] = deque()
        self._busy = threading.Lock()
        self._factors: dict[torch.device, torch.Tensor] = {}
        self._inherited: list[Any] = []
        self._broken = ""
        self._bytes = 0

    def holds(self, tensor: object) -> bool:
        """Whether a tensor lies on a device that is read, with all or a part of its data."""
        plain = values.placed(tensor) if isinstance(tensor, torch.Tensor) else None
        return plain is not None and self.kit.holds(plain)

    def any(self, tensors: Iterable[object]) -> bool:
        """Whether one of these does."""
        return any(self.holds(tensor) for tensor in tensors)

    def ask(self) -> Ask:
        """Begin to ask about tensors at this point."""
        return Ask(self)

    def refuses(self) -> str:
        """Why nothing can be asked now; "" if it can."""
        if self._broken or self.kit.captures():
            return self._broken or WHY_CAPTURED
        self.poll()
        return WHY_MANY if len(self._queue) >= MAX_PENDING or self._bytes > MAX_BYTES else ""

    def factors(self, device: torch.device) -> torch.Tensor:
        """Return the constants of a row, on a device."""
        known = self._factors.get(device)
        if known is None:
            known = self._factors[device] = self.kit.constant(torch.from_numpy(factors()), device)
        return known

    def put(self, entry: Entry) -> None:
        """Write facts when their results are there, and those before them are written."""
        if (entry.works or self._queue) and len(self._queue) < 2 * MAX_PENDING:
            self._bytes += entry.size
            self._queue.append(entry)
        else:
            self._write(entry)

    def after(self, probe: str, write: Callable[..., None], *args: Any) -> None:
        """Call `write` when all facts that are on their way are written."""
        self.put(Entry(probe, write, args))

    def poll(self) -> None:
        """Write what is there by now; 1 µs where nothing is."""
        if self._queue and not self.kit.captures() and self._busy.acquire(blocking=False):
            try:
                while self._queue and self._is_there(self._queue[0]):
                    self._write(self._next())
            except Exception as fault:  # the device is lost, by whose fault ever
                self._broken = f"devices cannot be asked any more: {type(fault).__name__}"
                self._give_up(self._broken)
            finally:
                self._busy.release()

    def close(self) -> None:
        """Write what is left, waiting for it; what does not come in time stays unknown."""
        end = time.monotonic() + PATIENCE_S
        self.poll()
        while self._queue and time.monotonic() < end:
            time.sleep(0.001)
            self.poll()
        self._give_up(WHY_LATE)

    def after_fork(self) -> None:
        """What is on its way is the parent's. Nothing of it is freed here: the child must not touch the device."""
        self._inherited += [self._queue, self._factors]
        self._queue, self._factors, self._busy, self._bytes = deque(), {}, threading.Lock(), 0

    def _give_up(self, why: str) -> None:
        while self._queue:
            entry = self._next()
            entry.why = why
            self._write(entry)

    def _next(self) -> Entry:
        entry = self._queue.popleft()
        self._bytes -= entry.size
        return entry

    def _is_there(self, entry: Entry) -> bool:
        """Whether the results of an entry have come; then they are its answers."""
        if not all(self.kit.passed(work.last) for work in entry.works):
            return False
        for work in entry.works:
            work.settle()
            self._spent(self.kit.seconds(work.first, work.last))
        return True

    def _write(self, entry: Entry) -> None:
        for param, answer in entry.finite:
            if answer.get() is not None:
                param.finite = answer.get()
        self.why = entry.why or values.WHY_DEVICE
        self._safely(entry.probe, entry.write, *map(resolve, entry.args))


class Ask:
    """What is asked about tensors at one point; those in host memory are answered at once."""

    __slots__ = ("_finite", "_late", "_norms", "_numbers", "_params", "_prints")

    def __init__(self, late: Late) -> None:
        self._late = late
        self._prints: list[Asked] = []
        self._norms: list[Asked] = []
        self._numbers: list[Number] = []
        #: Parameters of which it is asked whether they are finite, and those whose print is a new one.
        self._finite: list[tuple[Param, Answer]] = []
        self._params: list[Param] = []

    # ------------------------------------------------------------------ questions
    def print(self, tensor: torch.Tensor) -> Answer:
        """Ask for the fingerprint of a tensor; None if it cannot be read."""
        plain = values.placed(tensor)
        if plain is None or not self._late.kit.holds(plain):
            return Answer(None if plain is None else values.print_of(plain))
        if not plain.numel():
            return Answer(of_rows(b"", plain.dtype, plain.shape))
        answer = Answer()
        self._prints.append((answer, plain))
        return answer

    def sample(self, tensor: torch.Tensor) -> Answer:
        """Ask for the fingerprint of an input, as `values.sample_print`."""
        plain = values.placed(tensor)
        return Answer() if plain is None else self.print(values.sampled(plain))

    def norm(self, tensor: torch.Tensor) -> Answer:
        """Ask for (class, L2 norm) of a tensor of floating point; the class is zero, nonzero or nonfinite."""
        return self._norm(tensor, Answer())

    def finite(self, tensor: torch.Tensor) -> Answer:
        """Ask whether a tensor has neither NaN nor infinity."""
        if values.is_float(tensor):
            return self._norm(tensor, Finite())
        return Answer(True)

    def _norm(self, tensor: torch.Tensor, answer: Answer) -> Answer:
        plain = values.placed(tensor)
        if plain is not None and self._late.kit.holds(plain):
            self._norms.append((answer, plain))
        elif plain is not None and plain.is_cpu:
            answer.value = values.norm_of(plain)
        return answer

    def number(self, value: object, make: Callable[[torch.Tensor], torch.Tensor] | None = None) -> Answer:
        """Ask for a number; None if it is none.

        Args:
            value: a number, or a tensor: of one element, unless `make` makes one of it.
            make: computes a tensor of one element, where the data is, and when the question is sent.
        """
        if not isinstance(value, torch.Tensor):
            return Answer(float(value) if isinstance(value, (int, float)) else None)
        plain = values.placed(value)
        if plain is None or (make is None and (plain.is_complex() or plain.numel() != 1)):
            return Answer()
        if not self._late.kit.holds(plain):
            if not plain.is_cpu:
                return Answer()
            with torch.no_grad():
                return Answer(float((make or _itself)(plain.detach()).real))
        answer = Answer()
        self._numbers.append((answer, plain, make or _itself))
        return answer

    def params(self, params: Iterable[tuple[torch.Tensor, Param, bool]], check: bool = True) -> list[Answer]:
        """Ask for the fingerprints of parameters, as `values.param_prints`."""
        found = []
        for tensor, param, again in params:
            plain = values.placed(tensor)
            if plain is None or not self._late.kit.holds(plain):
                found.append(Answer(values.param_prints([(tensor, param, again)], check)[0]))
                continue
            state = plain.data_ptr(), tensor._version
            if again or param.late is None or state != (param.pointer, param.version):
                param.late = self.print(plain)
                param.pointer, param.version = state
                self._params.append(param)
                if (check or not param.finite) and values.is_float(plain):
                    self._finite.append((param, self.finite(plain)))
            found.append(param.late)
        return found

    # ------------------------------------------------------------------ sending
    def then(self, probe: str, write: Callable[..., None], *args: Any) -> None:
        """Call `write` when the answers are there, with these arguments: answers and lists of them as their values.

        A fault in it disables the probe. The arguments must not hold objects of the program.
        """
        entry = Entry(probe, write, args, finite=self._finite)
        if self._prints or self._norms or self._numbers:
            entry.why = self._late.refuses()
            if not entry.why:
                try:
                    with Quiet():
                        entry.works = [self._enqueue(device) for device in self._devices()]
                except Exception:
                    self._forget()
                    raise
            else:
                self._forget()
        else:
            self._late.poll()
        self._late.put(entry)

    def send(self, probe: str) -> None:
        """Ask for what facts are made of later on."""
        if self._prints or self._norms or self._numbers:
            self.then(probe, _nothing)

    def _forget(self) -> None:
        """The prints that parameters are going to have are not going to come."""
        for param in self._params:
            param.late = None

    def _devices(self) -> Sequence[torch.device]:
        tensors = [*(item[1] for item in self._prints), *(item[1] for item in self._norms)]
        return list(dict.fromkeys(t.device for t in (*tensors, *(item[1] for item in self._numbers))))

    def _enqueue(self, device: torch.device) -> Work:
        """Enqueue what was asked about the tensors of a device; O(tensors) on the host, O(bytes) on the device."""
        kit, columns = self._late.kit, Columns()
        first = kit.mark(device)
        factors = self._late.factors(device)
        prints = columns.prints([item for item in self._prints if item[1].device == device], factors)
        norms = columns.norms([item for item in self._norms if item[1].device == device])
        numbers = columns.numbers([item for item in self._numbers if item[1].device == device])
        result = kit.fetch(columns.joined())
        return Work(first, kit.mark(device), result, prints, norms, numbers)


def _itself(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _nothing() -> None:
    """Write no fact."""


def resolve(value: Any) -> Any:
    """Return the value of an answer, and of those in lists."""
    if isinstance(value, Answer):
        return value.get()
    return [resolve(item) for item in value] if type(value) is list else value
