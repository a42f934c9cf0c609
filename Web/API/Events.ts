// The stream of what concerns the reader: a fetch that stays open, since an EventSource cannot bear a token. It goes on where
// it ended after sleep, loss of the network or of an instance.
import type { Message, Order, Post } from "@api";
import { refusal } from "./Client";
import { clock } from "./Clock";
import { Refusal } from "./Problem";
import { session } from "./Session";
import { Store } from "./Store";

export interface Listener {
    message(message: Message): void;
    post(post: Post): void;
    order(order: Order): void;
    /** From now on all is told. What was before was not, or too much was missed: everything is to be read anew. */
    begun(): void;
}

/** How the stream stands: `away` is worth telling, `opening` is not yet. */
export type LiveState = "opening" | "live" | "away";

/** The server says something every 15 seconds. */
const silenceMilliseconds = 40_000;
const longestPauseMilliseconds = 15_000;
/** One that is gone for less than this is not spoken of. */
const graceMilliseconds = 1_500;

export const live = new Store<LiveState>("opening");

export class EventReader {
    private lastID = "";
    private ending = new AbortController();
    private isStopped = false;
    private failures = 0;
    private skipPause: (() => void) | undefined;
    private awayTimer: number | undefined;

    constructor(private readonly listener: Listener) {}

    start(): void {
        window.addEventListener("online", this.again);
        window.addEventListener("offline", this.again);
        document.addEventListener("visibilitychange", this.seen);
        void this.run();
    }

    stop(): void {
        this.isStopped = true;
        window.removeEventListener("online", this.again);
        window.removeEventListener("offline", this.again);
        document.removeEventListener("visibilitychange", this.seen);
        clearTimeout(this.awayTimer);
        this.ending.abort();
        this.skipPause?.();
        live.set("opening");
    }

    /** The network came or went: what is open may be dead. */
    private readonly again = () => {
        this.failures = 0;
        this.ending.abort();
        this.skipPause?.();
    };

    private readonly seen = () => {
        if (document.visibilityState === "visible" && live.get() !== "live") this.skipPause?.();
    };

    private async run(): Promise<void> {
        while (!this.isStopped) {
            let isEnded = false;
            try {
                await this.follow();
                isEnded = true;
            } catch (error) {
                if (error instanceof Refusal && error.status === 400) {
                    this.lastID = "";
                    continue;
                }
                // Nobody is signed in any more.
                if (session.state.get().kind !== "in") return;
                this.failures += 1;
            }
            if (this.isStopped) return;
            if (!isEnded || this.failures > 0) this.goAway();
            await this.pause(Math.min(250 * 2 ** this.failures, longestPauseMilliseconds));
        }
    }

    private goAway(): void {
        if (live.get() === "away" || this.awayTimer !== undefined) return;
        live.set("opening");
        this.awayTimer = window.setTimeout(() => {
            this.awayTimer = undefined;
            if (!this.isStopped && live.get() !== "live") live.set("away");
        }, navigator.onLine ? graceMilliseconds : 0);
    }

    private arrive(): void {
        clearTimeout(this.awayTimer);
        this.awayTimer = undefined;
        this.failures = 0;
        live.set("live");
    }

    private pause(milliseconds: number): Promise<void> {
        return new Promise((resolve) => {
            // Not all who lost it at the same moment come back at the same moment.
            const timer = setTimeout(resolve, milliseconds * (0.5 + Math.random() / 2));
            this.skipPause = () => { clearTimeout(timer); resolve(); };
        });
    }

    /** Opens the stream and reads it to its end. */
    private async follow(): Promise<void> {
        const token = await session.token();
        this.ending = new AbortController();
        const ending = this.ending;
        let watch = 0;
        const hear = () => {
            clearTimeout(watch);
            watch = window.setTimeout(() => ending.abort(), silenceMilliseconds);
        };
        hear();
        // The server ends it with the token; before that another is at hand.
        const renewal = window.setTimeout(() => ending.abort(), Math.max(session.remaining, 1000));
        let isRenewed = false;
        ending.signal.addEventListener("abort", () => { isRenewed = session.remaining <= 0; });
        try {
            const asked = Date.now();
            const answer = await fetch("/v1/events", {
                headers: { Authorization: `Bearer ${token}`, "Last-Event-ID": this.lastID },
                cache: "no-store", credentials: "same-origin", signal: ending.signal,
            });
            clock.learn(answer.headers.get("Date"), asked, Date.now());
            if (answer.status === 401) {
                session.forget(token);
                await session.token();
                return;
            }
            if (!answer.ok || !answer.body) throw await refusal(answer);
            await this.read(answer.body, hear);
        } catch (error) {
            if (error instanceof Refusal || !isRenewed) throw error;
        } finally {
            clearTimeout(watch);
            clearTimeout(renewal);
        }
    }

    private async read(body: ReadableStream<Uint8Array>, hear: () => void): Promise<void> {
        const reader = body.getReader();
        const decoder = new TextDecoder();
        let text = "";
        for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            hear();
            text += decoder.decode(value, { stream: true });
            let end = text.indexOf("\n\n");
            while (end >= 0) {
                this.take(text.slice(0, end));
                text = text.slice(end + 2);
                end = text.indexOf("\n\n");
            }
        }
    }

    private take(block: string): void {
        const isFirst = this.lastID === "";
        let name = "message";
        let id: string | undefined;
        const data: string[] = [];
        for (const line of block.split("\n")) {
            const colon = line.indexOf(":");
            if (colon <= 0) continue;
            const value = line.slice(colon + 1).replace(/^ /, "");
            switch (line.slice(0, colon)) {
                case "event": name = value; break;
                case "id": id = value; break;
                case "data": data.push(value); break;
            }
        }
        if (data.length > 0) {
            const contents: unknown = JSON.parse(data.join("\n"));
            switch (name) {
                case "message": this.listener.message(contents as Message); break;
                case "post": this.listener.post(contents as Post); break;
                case "order": this.listener.order(contents as Order); break;
                case "ready":
                    this.arrive();
                    if (isFirst) this.listener.begun();
                    break;
            }
        }
        if (id !== undefined) this.lastID = id;
    }
}
