"""Conversations as the text that Gemma 4's 12B model reads and writes.

`render` follows the chat format of the released 12B checkpoint: the same control tokens, turns,
thoughts, tool declarations, calls and responses. A prompt ends where the model goes on.
"""

from dataclasses import dataclass
from typing import Any

TURN, END_TURN = "<|turn>", "<turn|>"
CHANNEL, END_CHANNEL = "<|channel>", "<channel|>"
CALL, END_CALL = "<|tool_call>", "<tool_call|>"
RESPONSE, END_RESPONSE = "<|tool_response>", "<tool_response|>"
QUOTE = '<|"|>'
IMAGE, AUDIO = "<|image|>", "<|audio|>"
NO_THOUGHT = f"{CHANNEL}thought\n{END_CHANNEL}"


@dataclass(frozen=True)
class Call:
    """A tool call of the model and, once it is known, what the tool answered."""

    name: str
    arguments: dict[str, Any]
    response: dict[str, Any] | None = None


@dataclass(frozen=True)
class Message:
    """One turn. `content` may hold the placeholders IMAGE and AUDIO."""

    role: str  # system, user or model
    content: str = ""
    calls: tuple[Call, ...] = ()
    thought: str | None = None  # shown only after the last user message


def user(content: str) -> Message:
    return Message("user", content)


def model(content: str) -> Message:
    return Message("model", content)


def thought_block(thought: str) -> str:
    return f"{CHANNEL}thought\n{thought}\n{END_CHANNEL}"


def value_text(value: Any, quoted_keys: bool = False) -> str:
    """A JSON value in the format's own notation: quoted strings, bare keys."""
    if isinstance(value, str):
        return QUOTE + value + QUOTE
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        quote = QUOTE if quoted_keys else ""
        items = (
            f"{quote}{key}{quote}:{value_text(value[key], quoted_keys)}" for key in _sorted(value)
        )
        return "{" + ",".join(items) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(value_text(item, quoted_keys) for item in value) + "]"
    return str(value)


def call_text(call: Call) -> str:
    return f"{CALL}call:{call.name}{value_text(call.arguments)}{END_CALL}"


def response_text(call: Call) -> str:
    return f"{RESPONSE}response:{call.name}{value_text(call.response)}{END_RESPONSE}"


def _sorted(keys: dict[str, Any]) -> list[str]:
    return sorted(keys, key=str.lower)


def _property_text(key: str, schema: dict[str, Any]) -> str:
    parts = []
    if "description" in schema:
        parts.append(f"description:{QUOTE}{schema['description']}{QUOTE}")
    if "enum" in schema:
        parts.append(f"enum:{value_text(schema['enum'], True)}")
    parts.append(f"type:{QUOTE}{schema['type'].upper()}{QUOTE}")
    return f"{key}:{{{','.join(parts)}}}"


def declaration_text(tool: dict[str, Any]) -> str:
    """A tool {name, description, parameters: an object's JSON schema with flat properties}."""
    text = f"declaration:{tool['name']}{{description:{QUOTE}{tool['description']}{QUOTE}"
    schema = tool["parameters"]
    text += ",parameters:{"
    properties = schema["properties"]
    if properties:
        inner = ",".join(_property_text(key, properties[key]) for key in _sorted(properties))
        text += f"properties:{{{inner}}},"
    if schema.get("required"):
        text += f"required:{value_text(schema['required'], True)},"
    return text + f"type:{QUOTE}OBJECT{QUOTE}}}}}"


def _system_text(messages: list[Message], tools: list[dict[str, Any]], thinking: bool) -> str:
    has_system = bool(messages) and messages[0].role == "system"
    if not (thinking or tools or has_system):
        return ""
    text = f"{TURN}system\n"
    if thinking:
        text += "<|think|>\n"
    if has_system:
        text += messages[0].content.strip()
    text += "".join(f"<|tool>{declaration_text(tool)}<tool|>" for tool in tools)
    return text + f"{END_TURN}\n"


def _message_text(message: Message, keep_thought: bool) -> str:
    text = thought_block(message.thought) if message.thought and keep_thought else ""
    text += "".join(call_text(call) for call in message.calls)
    answered = [call for call in message.calls if call.response is not None]
    text += "".join(response_text(call) for call in answered)
    return text + message.content.strip()


def render(
    messages: list[Message], tools: list[dict[str, Any]] | None = None, thinking: bool = False
) -> str:
    """The prompt for the model's next words. A last message of the model whose calls have been
    answered is continued, not closed."""
    text = "<bos>" + _system_text(messages, tools or [], thinking)
    turns = [message for message in messages if message.role != "system"]
    last_user = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=-1)
    for index, turn in enumerate(turns):
        text += f"{TURN}{turn.role}\n" + _message_text(turn, index > last_user)
        is_open = index == len(turns) - 1 and bool(turn.calls) and not turn.content
        if is_open:
            return text + (f"{CHANNEL}thought\n" if thinking else "")
        text += f"{END_TURN}\n"
    return text + f"{TURN}model\n" + ("" if thinking else NO_THOUGHT)
