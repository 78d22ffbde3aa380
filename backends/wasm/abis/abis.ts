import type { Abi } from "./abi.ts";
import type { AbiName } from "./contract.ts";
import { dagwoodAbi } from "./dagwood.ts";
import { directAbi } from "./direct.ts";
import { extismAbi } from "./extism/extism.ts";
import { wapcAbi } from "./wapc/wapc.ts";

/** The ABIs, in the order in which `Auto` tries them. */
export const abis: readonly Abi[] = [directAbi, extismAbi, wapcAbi, dagwoodAbi];

/** @throws Error for one that is not spoken, which admission would have refused */
export function abiNamed(name: AbiName): Abi {
  const found = abis.find(({ contract }) => contract.name === name);
  if (found === undefined) throw new Error(`ABI ${name} is not spoken`);
  return found;
}
