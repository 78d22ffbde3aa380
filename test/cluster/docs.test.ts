import { blocksOf, pages, runBlocks } from "../support/pages.ts";
import { useCluster } from "./cluster.ts";

describe("the pages' examples on a cluster", function () {
  this.timeout(240_000);
  const cluster = useCluster();

  for (const page of pages) {
    const blocks = blocksOf(page).filter(({ language, flags }) => language === "console" && flags.includes("cluster"));
    if (blocks.length > 0) {
      it(`of ${page} print what it says`, () => runBlocks(blocks, { KUBECONFIG: cluster.kubeconfig }));
    }
  }
});
