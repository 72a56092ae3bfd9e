"""What is wrong with a JSON body, in the words etcd's clients have always been given.

Source: reference contract, v2-api sections 8 and 15.
"""

_SPACE = b" \t\r\n"
_FIRST_OF_A_VALUE = b'{["-0123456789tfn'
_TRUNCATED = "truncated"


def describe_fault(body: bytes, error: Exception, end: str) -> str:
    """Why the body could not be decoded.

    Args:
        body: what was sent.
        error: what decoding it raised, one of `decoding.FAULTS`.
        end: the text for a body that ends too soon.
    """
    found = body.lstrip(_SPACE)
    if not found or _TRUNCATED in str(error):
        return end
    if found[0] not in _FIRST_OF_A_VALUE:
        character = found.decode("utf-8", "replace")[0]
        return f"invalid character '{character}' looking for beginning of value"
    return "nested too deep" if isinstance(error, RecursionError) else str(error)
