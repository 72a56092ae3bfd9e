"""From the parameters of a keys request to what is to be done: one class for each era.

Both check in the contract's order, because the first fault is the answer. They differ in which
booleans they know, what a condition must look like, what the causes say, and in the index an error
tells (0.4: the store's; 3.x: 0).

Times become absolute here, on the clock of the member that took the request; everything after
this is a function of the command.
Source: v2-api sections 2, 3.4 to 3.9 and 15.
"""

from typing import Protocol, TypeAlias

from kvorum.api.v2.form import (
    INT64_MAX,
    Form,
    parse_bool,
    parse_signed,
    parse_unsigned,
)
from kvorum.errors import (
    IndexNotANumber,
    InvalidField,
    InvalidForm,
    PrevValueRequired,
    RefreshTTLRequired,
    RefreshValue,
    RequestError,
    TTLNotANumber,
    ValueOrTTLRequired,
)
from kvorum.structs import Untracked
from kvorum.v2.commands import (
    CompareAndDelete,
    CompareAndSwap,
    Create,
    Delete,
    KeyCommand,
    Set,
    Update,
)
from kvorum.v2.node import NS_PER_SECOND, replace_invalid
from kvorum.v2.policy import V2Policy


class Write(Untracked):
    """A write, and whether its answer is to show only what was done."""

    command: KeyCommand
    hides_node: bool = False


class Read(Untracked):
    """What a GET asks for.

    Attributes:
        wait_index: the first index a wait is interested in; 0 for what comes next.
    """

    is_recursive: bool = False
    is_sorted: bool = False
    is_linearizable: bool = False
    is_wait: bool = False
    is_stream: bool = False
    wait_index: int = 0


class Request(Untracked):
    """What every parser gets: the parameters and what surrounds them.

    Attributes:
        fault: what was wrong with the form; empty when nothing was.
        index: the store's revision, for errors.
    """

    key: bytes
    form: Form
    fault: str
    now_ns: int
    index: int
    method: str = "GET"


Parsed: TypeAlias = Write | RequestError


class Params(Protocol):
    """The reading of one era."""

    def get(self, request: Request) -> Read | RequestError:
        """What a GET or HEAD asks for."""

    def put(self, request: Request) -> Parsed:
        """What a PUT is to do."""

    def post(self, request: Request) -> Parsed:
        """What a POST is to do."""

    def delete(self, request: Request) -> Parsed:
        """What a DELETE is to do."""


def expiration_at(now_ns: int, ttl_seconds: int) -> int:
    """When a TTL ends. Never 0, which means no end, and never beyond what 64 bits hold."""
    return min(max(now_ns + ttl_seconds * NS_PER_SECOND, 1), INT64_MAX)


class LegacyParams:
    """As 0.4 reads them: what it does not understand it takes for absent."""

    def get(self, request: Request) -> Read | RequestError:
        """What a GET asks for; a linearizable one never waits."""
        form = request.form
        read = Read(
            is_recursive=_is_true(form, b"recursive"),
            is_sorted=_is_true(form, b"sorted"),
            is_linearizable=_is_true(form, b"quorum"),
        )
        if read.is_linearizable:
            return read
        read.is_wait = _is_true(form, b"wait")
        if not read.is_wait:
            read.is_linearizable = _is_true(form, b"consistent")
            return read
        read.is_stream = _is_true(form, b"stream")
        wait_index = parse_unsigned(form.get(b"waitIndex") or b"0")
        if wait_index is None:
            return IndexNotANumber("Watch From Index", request.index)
        read.wait_index = wait_index
        return read

    def put(self, request: Request) -> Parsed:
        """Set, create, update or compare-and-swap: which conditions are present decides."""
        key, form = request.key, request.form
        expiration = self._expiration(request)
        if expiration is None:
            return TTLNotANumber("Update", request.index)
        value = replace_invalid(form.get(b"value", b""))
        prev_exist = form.get(b"prevExist")
        has_compare = b"prevValue" in form or b"prevIndex" in form
        is_dir = _is_true(form, b"dir")
        if prev_exist is None and not has_compare:
            return Write(Set(key, value, is_dir, expiration))
        known = (prev_exist or b"").lower()
        if known == b"false":
            return Write(Create(key, value, is_dir, expiration))
        if known == b"true" and not has_compare:
            if not value and not form.get(b"ttl"):
                return ValueOrTTLRequired("Update", request.index)
            return Write(Update(key, value, expiration))
        return self._swap(request, value, expiration)

    def _swap(self, request: Request, value: bytes, expiration: int) -> Parsed:
        compare = self._compare(request, "CompareAndSwap")
        if isinstance(compare, RequestError):
            return compare
        return Write(CompareAndSwap(request.key, value, *compare, expiration))

    def post(self, request: Request) -> Parsed:
        """Create an in-order key."""
        form = request.form
        expiration = self._expiration(request)
        if expiration is None:
            return TTLNotANumber("Create", request.index)
        value = replace_invalid(form.get(b"value", b""))
        return Write(Create(request.key, value, _is_true(form, b"dir"), expiration, in_order=True))

    def delete(self, request: Request) -> Parsed:
        """Delete or compare-and-delete."""
        form = request.form
        if b"prevValue" in form or b"prevIndex" in form:
            compare = self._compare(request, "CompareAndDelete")
            if isinstance(compare, RequestError):
                return compare
            return Write(CompareAndDelete(request.key, *compare))
        return Write(Delete(request.key, _is_true(form, b"dir"), _is_true(form, b"recursive")))

    def _expiration(self, request: Request) -> int | None:
        text = request.form.get(b"ttl")
        if not text:
            return 0
        ttl = parse_signed(text)
        return None if ttl is None else expiration_at(request.now_ns, ttl)

    def _compare(self, request: Request, operation: str) -> tuple[bytes, int] | RequestError:
        form = request.form
        prev_index = parse_unsigned(form.get(b"prevIndex", b"0"))
        if prev_index is None:
            return IndexNotANumber(operation, request.index)
        prev_value = form.get(b"prevValue", b"")
        if b"prevValue" in form and not prev_value:
            return PrevValueRequired(operation, request.index)
        return replace_invalid(prev_value), prev_index


def _is_true(form: Form, name: bytes) -> bool:
    """0.4 lower-cases true and false, and takes nothing else for true."""
    text = form.get(name)
    return text is not None and (text == b"true" or text.lower() == b"true")


class _Fields(Untracked):
    """All parameters of the 3.x era, checked."""

    prev_index: int
    wait_index: int
    is_recursive: bool
    is_sorted: bool
    is_wait: bool
    is_dir: bool
    is_quorum: bool
    is_stream: bool
    hides_node: bool
    expiration: int
    prev_exist: bool | None
    is_refresh: bool
    prev_value: bytes
    value: bytes


class StrictParams:
    """As 3.4 reads them: every parameter is checked on every request."""

    def __init__(self, in_order_digits: int) -> None:
        self._in_order_digits = in_order_digits

    def get(self, request: Request) -> Read | RequestError:
        """What a GET asks for; a linearizable one never waits."""
        fields = self._read(request, is_get=request.method == "GET")
        if isinstance(fields, RequestError):
            return fields
        return Read(
            fields.is_recursive,
            fields.is_sorted,
            fields.is_quorum,
            fields.is_wait and not fields.is_quorum,
            fields.is_stream,
            fields.wait_index,
        )

    def put(self, request: Request) -> Parsed:
        """Set, create, update or compare-and-swap."""
        f = self._read(request)
        if isinstance(f, RequestError):
            return f
        key = request.key
        if f.prev_exist is False:
            return Write(Create(key, f.value, f.is_dir, f.expiration), f.hides_node)
        command: KeyCommand
        if f.prev_value or f.prev_index:
            command = CompareAndSwap(
                key, f.value, f.prev_value, f.prev_index, f.expiration, f.is_refresh
            )
        elif f.prev_exist:
            command = Update(key, f.value, f.expiration, f.is_refresh)
        else:
            command = Set(key, f.value, f.is_dir, f.expiration, f.is_refresh)
        return Write(command, f.hides_node)

    def post(self, request: Request) -> Parsed:
        """Create an in-order key."""
        f = self._read(request)
        if isinstance(f, RequestError):
            return f
        command = Create(
            request.key,
            f.value,
            f.is_dir,
            f.expiration,
            in_order=True,
            digits=self._in_order_digits,
        )
        return Write(command, f.hides_node)

    def delete(self, request: Request) -> Parsed:
        """Delete or compare-and-delete."""
        f = self._read(request)
        if isinstance(f, RequestError):
            return f
        if f.prev_value or f.prev_index:
            return Write(CompareAndDelete(request.key, f.prev_value, f.prev_index))
        return Write(Delete(request.key, f.is_dir, f.is_recursive))

    def _read(self, request: Request, *, is_get: bool = False) -> _Fields | RequestError:
        """Every parameter, or the first fault."""
        form = request.form
        checks = _Checks(form)
        checks.require(not request.fault, InvalidForm, request.fault)
        prev_index = checks.number(b"prevIndex")
        wait_index = checks.number(b"waitIndex")
        is_recursive = checks.flag(b"recursive")
        is_sorted = checks.flag(b"sorted")
        is_wait = checks.flag(b"wait")
        is_dir = checks.flag(b"dir")
        is_quorum = checks.flag(b"quorum")
        is_stream = checks.flag(b"stream")
        checks.require(
            is_get or not is_wait, InvalidField, '"wait" can only be used with GET requests'
        )
        prev_value = form.get(b"prevValue", b"")
        checks.require(
            bool(prev_value) or b"prevValue" not in form,
            PrevValueRequired,
            '"prevValue" cannot be empty',
        )
        hides_node = checks.flag(b"noValueOnSuccess")
        ttl_text = form.get(b"ttl")
        ttl = parse_unsigned(ttl_text) if ttl_text else None
        checks.require(ttl is not None or not ttl_text, TTLNotANumber, 'invalid value for "ttl"')
        # Of all causes, these two have their name without quotes.
        prev_exist = checks.flag(b"prevExist", "prevExist") if b"prevExist" in form else None
        is_refresh = checks.flag(b"refresh", "refresh")
        value = form.get(b"value", b"")
        checks.require(
            not (is_refresh and value), RefreshValue, "A value was provided on a refresh"
        )
        checks.require(ttl is not None or not is_refresh, RefreshTTLRequired, "No TTL value set")
        if checks.fault is not None:
            return checks.fault
        return _Fields(
            prev_index,
            wait_index,
            is_recursive,
            is_sorted,
            is_wait,
            is_dir,
            is_quorum,
            is_stream,
            hides_node,
            0 if ttl is None else expiration_at(request.now_ns, ttl),
            prev_exist,
            is_refresh,
            prev_value,
            value,
        )


class _Checks:
    """Reads parameters one after the other and keeps the first fault; its errors' index is 0."""

    __slots__ = ("_form", "fault")

    def __init__(self, form: Form) -> None:
        self._form = form
        self.fault: RequestError | None = None

    def require(self, is_met: bool, kind: type[RequestError], cause: str) -> None:  # noqa: FBT001
        """Notes a fault unless the condition is met."""
        if not is_met and self.fault is None:
            self.fault = kind(cause)

    def number(self, name: bytes) -> int:
        """An index; 0 when absent."""
        text = self._form.get(name)
        if text is None:
            return 0
        number = parse_unsigned(text)
        self.require(number is not None, IndexNotANumber, f'invalid value for "{name.decode()}"')
        return number or 0

    def flag(self, name: bytes, shown: str = "") -> bool:
        """A boolean; False when absent. `shown` is how a fault spells the name."""
        text = self._form.get(name)
        if text is None:
            return False
        if text == b"true":
            return True
        flag = parse_bool(text)
        if flag is None:
            shown = shown or f'"{name.decode()}"'
            self.require(False, InvalidField, f"invalid value for {shown}")  # noqa: FBT003
        return flag or False


def params_of(policy: V2Policy) -> Params:
    """The reading that goes with a policy."""
    return StrictParams(policy.in_order_digits) if policy.has_strict_parameters else LegacyParams()
