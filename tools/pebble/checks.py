"""How an answer is judged, from data alone, so that every engine is scored alike.

The judged text is what was generated up to the token that ended it (not included), with control
tokens written by name, less a thought at its beginning and white space around. A check is
{"kind": "exact", "text"} or {"kind": "json", "schema", "value"}; a JSON answer is `valid` where it
is JSON that follows the schema and `right` where it is also the expected value.
"""

import json
from typing import Any

from chat import CHANNEL, END_CHANNEL


def judged_text(generated: str) -> str:
    text = generated.strip()
    if text.startswith(CHANNEL) and END_CHANNEL in text:
        text = text.split(END_CHANNEL, 1)[1].strip()
    return text


_TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


def follows(value: Any, schema: dict[str, Any]) -> bool:
    """The part of JSON Schema that Pebble's prompts use; keys not listed are not allowed."""
    kind = _TYPES[schema["type"]]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if kind is list:
        return all(follows(item, schema["items"]) for item in value)
    if kind is dict:
        properties = schema["properties"]
        return (
            all(key in value for key in schema["required"])
            and all(key in properties for key in value)
            and all(follows(item, properties[key]) for key, item in value.items())
        )
    return True


def judge(check: dict[str, Any], generated: str) -> dict[str, bool]:
    """{"right"}, and for JSON {"valid"} too."""
    text = judged_text(generated)
    if check["kind"] == "exact":
        return {"right": text == check["text"]}
    try:
        value = json.loads(text)
    except ValueError:
        return {"valid": False, "right": False}
    return {"valid": follows(value, check["schema"]), "right": value == check["value"]}
