// Messages that are written and not yet known to be stored: shown at once, sent again after a loss under the same ID, kept
// over a reload.
import type { Message, NewMessage } from "@api";
import { call } from "../API/Client";
import { newID } from "../API/NewID";
import { Refusal } from "../API/Problem";
import { Store } from "../API/Store";

export interface Pending {
    readonly conversationId: string;
    readonly message: NewMessage;
    readonly writtenAt: string;
    /** Why it will not be sent again by itself. */
    readonly refusal?: Refusal;
}

const longestPauseMilliseconds = 20_000;

export class Outbox {
    readonly pending: Store<readonly Pending[]>;
    private isSending = false;
    private isClosed = false;
    private wake: (() => void) | undefined;

    /** @param stored told of each message once the server has it. */
    constructor(private readonly account: string, private readonly stored: (message: Message) => void) {
        this.pending = new Store(this.kept());
        window.addEventListener("online", this.wakeUp);
        void this.run();
    }

    close(): void {
        this.isClosed = true;
        window.removeEventListener("online", this.wakeUp);
        this.wakeUp();
    }

    send(conversationId: string, message: Omit<NewMessage, "clientMessageId">): void {
        this.change((all) => [...all, {
            conversationId, message: { ...message, clientMessageId: newID() }, writtenAt: new Date().toISOString(),
        }]);
        void this.run();
    }

    /** Sends one again that was refused. */
    again(one: Pending): void {
        this.change((all) => all.map((other) => other === one ? { ...one, refusal: undefined } : other));
        void this.run();
    }

    drop(one: Pending): void {
        this.change((all) => all.filter((other) => other !== one));
    }

    private readonly wakeUp = () => this.wake?.();

    /** One after the other, so that they arrive as they were written. */
    private async run(): Promise<void> {
        if (this.isSending) return;
        this.isSending = true;
        let failures = 0;
        for (;;) {
            const next = this.pending.get().find((one) => !one.refusal);
            if (!next || this.isClosed) break;
            try {
                const message = await call("sendMessage", { path: { id: next.conversationId }, body: next.message });
                if (this.isClosed) break;
                this.stored(message);
                this.drop(next);
                failures = 0;
            } catch (error) {
                if (error instanceof Refusal && !error.isPassing && error.status !== 401) {
                    const refusal = error;
                    this.change((all) => all.map((one) => one === next ? { ...one, refusal } : one));
                    continue;
                }
                failures += 1;
                await this.pause(Math.min(500 * 2 ** failures, longestPauseMilliseconds));
            }
        }
        this.isSending = false;
    }

    private pause(milliseconds: number): Promise<void> {
        return new Promise((resolve) => {
            const timer = setTimeout(resolve, milliseconds);
            this.wake = () => { clearTimeout(timer); resolve(); };
        });
    }

    private get key(): string { return `stampede.outbox.${this.account}`; }

    private kept(): readonly Pending[] {
        try {
            return JSON.parse(localStorage.getItem(this.key) ?? "[]") as Pending[];
        } catch {
            return [];
        }
    }

    private change(change: (all: readonly Pending[]) => readonly Pending[]): void {
        this.pending.update(change);
        localStorage.setItem(this.key, JSON.stringify(this.pending.get().map(({ refusal: _, ...rest }) => rest)));
    }
}
