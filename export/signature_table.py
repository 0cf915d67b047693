"""The table of the signatures in the documentation."""

from export.signatures import INPUTS, SIGNATURES, Input, input_names

__all__ = ["markdown"]


def markdown() -> str:
    """Returns the table of the signatures in the documentation."""
    lines = ["| signature | what it returns | inputs | outputs |", "|---|---|---|---|"]
    for name, item in SIGNATURES.items():
        inputs = [_described(key, INPUTS[key]) for key in input_names(name)]
        outputs = [f"`{key}` `{_shape(output.shape)}`" for key, output in item.outputs.items()]
        if item.parameters:
            outputs.append(f"the {item.parameters}'s parameters")
        lines.append(f"| `{name}` | {item.summary} | {', '.join(inputs)} | {', '.join(outputs)} |")
    return "\n".join(lines)


def _described(name: str, item: Input) -> str:
    text = f"`{name}` {item.dtype} `{_shape(item.shape)}`"
    if not item.optional:
        return text
    limit = f", at most {item.largest:g}" if item.largest < 1e6 else ""
    return f"{text} (optional: {item.default:g}{limit})"


def _shape(sizes: tuple[str, ...]) -> str:
    return f"[{', '.join(('batch', *('*event' if size == 'event' else size for size in sizes)))}]"
