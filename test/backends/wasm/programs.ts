// Random programs that come to an end: functions of eight i32 that call only later ones, with loops that count down.
import fc from "fast-check";
import { assemble, constant, dropped, end, i32, unreachable } from "./assembler.ts";

type Code = readonly number[];

/** Parameters that statements set; the others count loops, one for each level of nesting. */
const variables = 5;
const parameters = 8;
const functions = 3;
const empty = 0x40;
const get = (local: number): number[] => [0x20, local];

const variable = fc.nat(variables - 1);
const number = fc.oneof(fc.integer({ min: -3, max: 5 }), fc.integer());

const expression: fc.Arbitrary<Code> = fc.letrec<{ value: Code }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    variable.map(get),
    number.map(constant),
    fc
      .tuple(tie("value"), tie("value"), fc.constantFrom(0x6a, 0x6b, 0x6c, 0x6d, 0x71, 0x73, 0x46, 0x48, 0x4a))
      .map(([left, right, operator]) => [...left, ...right, operator]),
    fc.tuple(tie("value"), tie("value"), tie("value")).map((operands) => [...operands.flat(), 0x1b]),
  ),
})).value;

const assignment = fc.tuple(expression, variable).map(([value, local]): Code => [...value, 0x21, local]);
const trap = fc.constant<Code>([unreachable]);
const returned = expression.map((value): Code => [...value, 0x0f]);

/** In as many open blocks as `depth` says, in function `index`. */
function statement(index: number, depth: number): fc.Arbitrary<Code> {
  const simple: fc.Arbitrary<Code>[] = [assignment, assignment, guarded(returned), guarded(trap)];
  if (depth > 0) simple.push(guarded(leap));
  for (let callee = index + 1; callee < functions; callee++) simple.push(callOf(callee));
  if (depth >= parameters - variables) return fc.oneof(...simple);
  const inner = statements(index, depth + 1);
  return fc.oneof(
    ...simple,
    inner.map((code): Code => [0x02, empty, ...code, end]),
    fc.tuple(expression, inner, inner).map(([test, yes, no]): Code => [...test, 0x04, empty, ...yes, 0x05, ...no, end]),
    fc.tuple(fc.integer({ min: 1, max: 6 }), inner).map(([times, code]) => loopOf(times, code, variables + depth)),
  );
}

function statements(index: number, depth: number): fc.Arbitrary<Code> {
  return fc.array(statement(index, depth), { maxLength: 4 }).map((codes) => codes.flat());
}

function guarded(code: fc.Arbitrary<Code>): fc.Arbitrary<Code> {
  return fc.tuple(expression, code).map(([test, then]) => [...test, 0x04, empty, ...then, end]);
}

/** Out of the guard, or out of the block around it, which is never a loop: a loop's code has a block of its own. */
const leap: fc.Arbitrary<Code> = fc.constantFrom<Code>([0x0c, 0], [0x0c, 1]);

function callOf(callee: number): fc.Arbitrary<Code> {
  return fc
    .array(expression, { minLength: parameters, maxLength: parameters })
    .map((values) => [...values.flat(), 0x10, callee, dropped]);
}

function loopOf(times: number, code: Code, counter: number): Code {
  const count = [...get(counter), ...constant(1), 0x6b, 0x22, counter, 0x0d, 0];
  return [...constant(times), 0x21, counter, 0x03, empty, 0x02, empty, ...code, end, ...count, end];
}

/** A module whose export `run` takes eight i32 and gives one. */
export const program: fc.Arbitrary<Uint8Array<ArrayBuffer>> = fc
  .tuple(...Array.from({ length: functions }, (_, index) => fc.tuple(statements(index, 0), expression)))
  .map((bodies) =>
    assemble({
      types: [[Array<number>(parameters).fill(i32), [i32]]],
      functions: bodies.map(([code, value]) => [0, [...code, ...value, end]] as const),
      exports: [["run", 0, 0]],
    }),
  );

/** What it may be called with. */
export const programParameters = fc.array(fc.integer({ min: -10, max: 10 }), {
  minLength: parameters,
  maxLength: parameters,
});
