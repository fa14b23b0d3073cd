"""The part of JSON Schema that docs/admin_api.schema.json uses. Standard library only."""
import re

TYPES = {"integer": int, "number": (int, float), "string": str, "boolean": bool, "array": list, "object": dict, "null": type(None)}


def _is(value, name):
    if name in ("integer", "number") and isinstance(value, bool):
        return False
    return isinstance(value, TYPES[name])


def errors(value, schema, definitions, path="$"):
    """Sentences about what in value the schema does not allow; empty: it is valid."""
    if "$ref" in schema:
        return errors(value, definitions[schema["$ref"].removeprefix("#/$defs/")], definitions, path)
    if "anyOf" in schema:
        answers = [errors(value, one, definitions, path) for one in schema["anyOf"]]
        return [] if [] in answers else answers[0]
    found = []
    if "const" in schema and value != schema["const"]:
        found.append(f"{path} is {value!r}, not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path} is {value!r}, not one of {schema['enum']}")
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_is(value, t) for t in types):
        return found + [f"{path} is {value!r}, not of type {' or '.join(types)}"]
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        found.append(f"{path} is {value!r}, not like {schema['pattern']}")
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            found += errors(item, schema["items"], definitions, f"{path}[{index}]")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        found += [f"{path} lacks {name}" for name in schema.get("required", []) if name not in value]
        for name, item in value.items():
            if name in known:
                found += errors(item, known[name], definitions, f"{path}.{name}")
            elif isinstance(schema.get("additionalProperties"), dict):
                found += errors(item, schema["additionalProperties"], definitions, f"{path}.{name}")
            elif schema.get("additionalProperties") is False:
                found.append(f"{path} has the unknown member {name}")
    return found
