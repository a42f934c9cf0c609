// What the API refuses, and what a person is told of it.
import type { Problem } from "@api";

/** A request that was refused, or that had no answer. */
export class Refusal extends Error {
    /** @param problem undefined where there was no answer at all. */
    constructor(readonly problem: Problem | undefined) {
        super(problem?.title ?? "no answer");
    }

    /** The last word of the problem's type; `no-answer` where there was none. */
    get kind(): string {
        return this.problem?.type.split(":").pop() ?? "no-answer";
    }

    get status(): number {
        return this.problem?.status ?? 0;
    }

    /** Whether the same may be sent again and do what it did not do now. */
    get isPassing(): boolean {
        return this.status === 0 || this.status === 429 || this.status >= 500;
    }

    get retryAfterSeconds(): number {
        return this.problem?.retryAfterSeconds ?? 1;
    }

    /** What was expected in a field of a form. */
    field(name: string): string | undefined {
        return this.problem?.fields?.find((one) => one.field === name)?.expected;
    }
}
