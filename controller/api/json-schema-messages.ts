import type { ErrorObject } from "ajv/dist/2020.js";

/** Where a value is not what a JSON Schema says. */
export interface SchemaViolation {
  /** From the value on: `parameters.language`, `options.top`, `input.pages[3]`. */
  readonly path: string;
  /** What is wrong; one sentence. */
  readonly message: string;
  /** What would be right; one sentence. */
  readonly mend: string;
}

/** Says one of ajv's errors in words: where from `root` on, what is wrong, what would be right. */
export function violationOf(error: ErrorObject, root: string): SchemaViolation {
  const path = root + pathOf(error.instancePath);
  const params: Readonly<Record<string, unknown>> = error.params;
  const word = (key: string) => String(params[key]);
  switch (error.keyword) {
    case "type":
      return {
        path,
        message: `${path} is not of type ${types(params.type)}`,
        mend: `Give a value of type ${types(params.type)}.`,
      };
    case "required":
      return {
        path: `${path}.${word("missingProperty")}`,
        message: `${path} lacks ${word("missingProperty")}`,
        mend: `Add ${word("missingProperty")}.`,
      };
    case "additionalProperties":
    case "unevaluatedProperties":
      return unknownProperty(error, path, word(error.keyword.replace("Properties", "Property")));
    case "enum":
      return {
        path,
        message: `${path} is none of the values allowed`,
        mend: `Use one of ${listed(params.allowedValues)}.`,
      };
    case "const":
      return {
        path,
        message: `${path} is not the value required`,
        mend: `Use ${JSON.stringify(params.allowedValue)}.`,
      };
    case "pattern":
      return {
        path,
        message: `${path} does not match the pattern ${word("pattern")}`,
        mend: `Give a string that matches ${word("pattern")}.`,
      };
    case "false schema":
      return { path, message: `${path} is not allowed`, mend: "Leave it out." };
    default:
      return {
        path,
        message: `${path} ${error.message ?? `fails ${error.keyword}`}`,
        mend: mendOf(error.keyword, path),
      };
  }
}

function mendOf(keyword: string, path: string): string {
  switch (keyword) {
    case "minimum":
    case "maximum":
    case "exclusiveMinimum":
    case "exclusiveMaximum":
    case "multipleOf":
      return "Give a number within these bounds.";
    case "minLength":
    case "maxLength":
      return "Give a string within these lengths.";
    default:
      return `Change ${path} to what the schema's ${keyword} asks for.`;
  }
}

function unknownProperty(error: ErrorObject, path: string, name: string): SchemaViolation {
  const known = Object.keys((error.parentSchema?.properties as object | undefined) ?? {});
  const mend = known.length === 0 ? `Leave ${name} out.` : `Leave it out, or use one of ${listed(known)}.`;
  return { path: `${path}.${name}`, message: `${path} has ${name}, which the schema does not know`, mend };
}

const maxListed = 10;

function listed(values: unknown): string {
  const all = Array.isArray(values) ? values : [];
  const shown = all.slice(0, maxListed).map((value) => JSON.stringify(value));
  return all.length > maxListed ? `${shown.join(", ")} and ${all.length - maxListed} more` : shown.join(", ");
}

function types(type: unknown): string {
  return Array.isArray(type) ? type.join(" or ") : String(type);
}

/** `/pages/3/title` → `.pages[3].title`. */
function pathOf(pointer: string): string {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((part) => (/^[0-9]+$/.test(part) ? `[${part}]` : `.${part}`))
    .join("");
}
