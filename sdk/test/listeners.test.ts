import { afterEach, describe, expect, it, vi } from "vitest";
import { afterTask, guarded } from "../src/listeners.js";

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("after the task", () => {
  const ways: [string, string[]][] = [
    ["setImmediate", []],
    ["a MessageChannel", ["setImmediate"]],
  ];

  it.each(ways)("comes by %s after all microtasks, in order", async (_way, missing) => {
    for (const name of missing) vi.stubGlobal(name, undefined);
    const order: string[] = [];
    await new Promise<void>((done) => {
      afterTask(() => order.push("first"));
      afterTask(() => {
        order.push("second");
        done();
      });
      queueMicrotask(() => order.push("microtask"));
      order.push("now");
    });
    expect(order).toEqual(["now", "microtask", "first", "second"]);
  });
});

describe("what a listener throws", () => {
  it("is thrown in a microtask, where it is an uncaught error like any other", async () => {
    const problem = new Error("mine");
    const fail = (): void => {
      throw problem;
    };
    const queued: (() => void)[] = [];
    vi.stubGlobal("queueMicrotask", (run: () => void) => queued.push(run));
    guarded(fail);
    expect(queued).toHaveLength(1);
    expect(queued[0]).toThrow(problem);
  });
});
