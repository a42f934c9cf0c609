// What a sale is at a moment: closed, waiting for its opening, open.
import type { Card, Order, Sale } from "@api";

export type Batch = Card["batches"][number];
export type Phase = "before" | "open" | "closed";

export interface Stage<Of extends Batch = Batch> {
    readonly batch: Of;
    readonly phase: Phase;
    readonly opensAt: number;
}

/** The batch that counts now: the one that is open, else the next, else the last. */
export function stage<Of extends Batch>(batches: readonly Of[], now: number): Stage<Of> | undefined {
    const all = batches.map((batch): Stage<Of> => {
        const opensAt = Date.parse(batch.opensAt);
        const closesAt = batch.closesAt === undefined ? Infinity : Date.parse(batch.closesAt);
        return { batch, opensAt, phase: now < opensAt ? "before" : now < closesAt ? "open" : "closed" };
    });
    // Where several are open, orders go to the last that opened.
    return [...all].reverse().find((one) => one.phase === "open") ?? all.find((one) => one.phase === "before")
        ?? all[all.length - 1];
}

/** How long an opening took until the last unit was given away, in milliseconds; undefined while there are some. */
export function soldOutAfter(sale: Sale, number: number): number | undefined {
    const batch = sale.batches.find((one) => one.number === number);
    if (!batch || batch.lines.length === 0) return undefined;
    let last = 0;
    for (const line of batch.lines) {
        if (line.soldOutAt === undefined) return undefined;
        last = Math.max(last, Date.parse(line.soldOutAt));
    }
    return Math.max(0, last - Date.parse(batch.opensAt));
}

/** Whether something may still happen to an order. */
export function isUnderWay(order: Order): boolean {
    return order.status === "accepted" || order.status === "waitlisted" || order.status === "reserved";
}
