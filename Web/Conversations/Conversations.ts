// Conversations and their messages as far as they were read, kept current by the stream.
import type { Conversation, Message } from "@api";
import { call } from "../API/Client";
import { all } from "../API/Pages";
import { Store } from "../API/Store";
import { Outbox } from "./Outbox";

/** Messages in their order, without a gap. */
export interface Thread {
    readonly messages: readonly Message[];
    readonly isComplete: boolean;
}

export interface ListState {
    readonly items: readonly Conversation[];
    readonly isLoaded: boolean;
    readonly error?: unknown;
}

const pageSize = 100;
/** Lists beyond this are for a search at the server. */
const conversationsMax = 1000;

export class Conversations {
    readonly list = new Store<ListState>({ items: [], isLoaded: false });
    readonly threads = new Store<ReadonlyMap<string, Thread>>(new Map());
    readonly outbox: Outbox;
    private readonly telling = new Set<string>();

    constructor(readonly account: string) {
        this.outbox = new Outbox(account, (message) => this.take(message));
    }

    close(): void {
        this.outbox.close();
    }

    /** Reads the list, and what is new of the threads that are open. */
    async load(): Promise<void> {
        try {
            const items = await all(conversationsMax, (cursor) =>
                call("listConversations", { query: { limit: pageSize, cursor } }));
            this.list.set({ items, isLoaded: true });
            await Promise.all([...this.threads.get().keys()].map((id) => this.catchUp(id)));
        } catch (error) {
            this.list.update((old) => ({ ...old, error }));
        }
    }

    unread(one: Conversation): number {
        return Math.max(0, one.lastSequence - one.readSequence);
    }

    /** The reader has seen a message, and all before it: other devices are to know as well. */
    read(id: string, sequence: number): void {
        const known = this.list.get().items.find((one) => one.conversationId === id);
        if (!known || known.readSequence >= sequence) return;
        this.list.update((old) => ({
            ...old, items: old.items.map((one) => one === known ? { ...one, readSequence: sequence } : one),
        }));
        void this.tellRead(id);
    }

    /** One request at a time for each conversation, however fast messages come. A lost one is made up for by the next. */
    private async tellRead(id: string): Promise<void> {
        if (this.telling.has(id)) return;
        this.telling.add(id);
        const upTo = () => this.list.get().items.find((one) => one.conversationId === id)?.readSequence ?? 0;
        try {
            for (let told = 0; told < upTo();) {
                told = upTo();
                await call("markConversation", { path: { id }, body: { sequence: told } });
            }
        } catch {
            // Told again with what is read next.
        } finally {
            this.telling.delete(id);
        }
    }

    async open(other: { readonly accountId: string } | { readonly handle: string }): Promise<string> {
        const opened = await call("openConversation", { body: other });
        if (!this.list.get().items.some((one) => one.conversationId === opened.conversationId)) await this.load();
        return opened.conversationId;
    }

    /** The last messages of a conversation. */
    async enter(id: string): Promise<void> {
        if (this.threads.get().has(id)) return;
        const last = this.list.get().items.find((one) => one.conversationId === id)?.lastSequence ?? 0;
        const first = Math.max(0, last - pageSize);
        const messages = await this.after(id, first);
        this.put(id, { messages, isComplete: first === 0 });
    }

    /** What came before what is known. */
    async earlier(id: string): Promise<void> {
        const thread = this.threads.get().get(id);
        const first = thread?.messages[0]?.sequence ?? 1;
        if (!thread || thread.isComplete) return;
        const from = Math.max(0, first - 1 - pageSize);
        const page = await call("listMessages", { path: { id }, query: { after: from, limit: Math.max(1, first - 1 - from) } });
        const known = this.threads.get().get(id) ?? thread;
        this.put(id, { messages: [...page.items, ...known.messages], isComplete: from === 0 });
    }

    private async after(id: string, sequence: number): Promise<Message[]> {
        const found: Message[] = [];
        let after = sequence;
        for (;;) {
            const page = await call("listMessages", { path: { id }, query: { after, limit: pageSize } });
            found.push(...page.items);
            if (page.nextCursor === undefined) return found;
            after = Number(page.nextCursor);
        }
    }

    private async catchUp(id: string): Promise<void> {
        const thread = this.threads.get().get(id);
        if (!thread) return;
        const news = await this.after(id, thread.messages[thread.messages.length - 1]?.sequence ?? 0);
        for (const message of news) this.insert(message);
    }

    /** One that came by the stream, or was stored for the outbox. */
    take(message: Message): void {
        this.insert(message);
        const { items } = this.list.get();
        const known = items.find((one) => one.conversationId === message.conversationId);
        if (!known) {
            void this.load();
            return;
        }
        if (known.lastSequence >= message.sequence) return;
        const changed: Conversation = {
            ...known, lastSequence: message.sequence, changedAt: message.sentAt, lastMessage: message,
        };
        this.list.update((old) => ({ ...old, items: [changed, ...old.items.filter((one) => one !== known)] }));
        // What the reader wrote, the reader knows, and all before it.
        if (message.senderId === this.account) this.read(message.conversationId, message.sequence);
    }

    private insert(message: Message): void {
        const thread = this.threads.get().get(message.conversationId);
        if (!thread) return;
        const last = thread.messages[thread.messages.length - 1]?.sequence ?? 0;
        if (message.sequence <= last) return;
        if (message.sequence > last + 1) {
            void this.catchUp(message.conversationId);
            return;
        }
        this.put(message.conversationId, { ...thread, messages: [...thread.messages, message] });
    }

    private put(id: string, thread: Thread): void {
        this.threads.update((old) => new Map(old).set(id, thread));
    }
}
