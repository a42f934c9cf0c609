// Messages in their order. They are drawn by blocks; a block that is far from what is seen is an empty box of its height, so
// that ten thousand messages cost as much as a hundred.
import { memo, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { Message } from "@api";
import { useStore } from "../API/Store";
import { explain, Trouble } from "../Shell/Explain";
import { useMember } from "../Shell/Member";
import { useText } from "../Shell/useText";
import { GoodsCard } from "../Sales/GoodsCard";
import { OrderCard } from "../Sales/OrderCard";
import type { Thread } from "./Conversations";
import type { Pending } from "./Outbox";

const blockSize = 50;
/** What a message is thought to be high before it was drawn. */
const guessedHeight = 64;
/** Whoever is so near to the end goes on to it when something comes. */
const endPixels = 80;

export function MessageList({ id, thread, pending }: { id: string; thread: Thread; pending: readonly Pending[] }) {
    const text = useText();
    const { conversations } = useMember();
    const box = useRef<HTMLDivElement>(null);
    const isAtEnd = useRef(true);
    const isReading = useRef(false);
    const heightBefore = useRef<number>();
    const [error, setError] = useState<unknown>();

    // Blocks are counted by sequence, so that a message stays in its own whatever comes before or behind.
    const blocks = useMemo(() => {
        const made = new Map<number, Message[]>();
        for (const message of thread.messages) {
            const number = Math.floor((message.sequence - 1) / blockSize);
            const block = made.get(number);
            if (block) block.push(message);
            else made.set(number, [message]);
        }
        return [...made];
    }, [thread.messages]);

    const earlier = useCallback(() => {
        if (isReading.current || thread.isComplete) return;
        isReading.current = true;
        setError(undefined);
        heightBefore.current = box.current?.scrollHeight;
        conversations.earlier(id).catch((refusal: unknown) => {
            heightBefore.current = undefined;
            setError(refusal);
        }).finally(() => { isReading.current = false; });
    }, [conversations, id, thread.isComplete]);

    const scrolled = () => {
        const element = box.current;
        if (!element) return;
        isAtEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < endPixels;
        if (element.scrollTop < element.clientHeight) earlier();
    };

    const first = thread.messages[0]?.sequence;
    // What came before is put in without moving what is seen.
    useLayoutEffect(() => {
        const element = box.current;
        if (element && heightBefore.current !== undefined) element.scrollTop += element.scrollHeight - heightBefore.current;
        heightBefore.current = undefined;
    }, [first]);
    const newest = last(thread.messages)?.sequence;
    const pendingBefore = useRef(pending.length);
    useLayoutEffect(() => {
        const element = box.current;
        // Who writes wants to see it.
        if (pending.length > pendingBefore.current) isAtEnd.current = true;
        pendingBefore.current = pending.length;
        if (element && isAtEnd.current) element.scrollTop = element.scrollHeight;
    }, [newest, pending.length]);
    // What is drawn later may be higher than was thought, and a keyboard takes a part of the page.
    useEffect(() => {
        const element = box.current;
        if (!element) return undefined;
        const observer = new ResizeObserver(() => { if (isAtEnd.current) element.scrollTop = element.scrollHeight; });
        observer.observe(element);
        if (element.firstElementChild) observer.observe(element.firstElementChild);
        return () => observer.disconnect();
    }, []);

    return (
        <div className="messages" ref={box} onScroll={scrolled} tabIndex={0} role="log" aria-label={text.say("chat.messages")}>
            <div className="messages-all">
                <Trouble error={error} again={earlier} />
                {thread.isComplete ? <p className="beginning">{text.say("chat.beginning")}</p>
                    : <button type="button" className="quiet" onClick={earlier}>{text.say("chat.earlier")}</button>}
                {blocks.map(([number, messages], index) => (
                    <Block key={number} messages={messages} box={box} before={last(blocks[index - 1]?.[1])} />
                ))}
                {pending.map((one) => <PendingMessage key={one.message.clientMessageId} pending={one} />)}
            </div>
        </div>
    );
}

function last<T>(list: readonly T[] | undefined): T | undefined {
    return list?.[list.length - 1];
}

interface BlockProps {
    readonly messages: readonly Message[];
    /** The one before the first. */
    readonly before: Message | undefined;
    readonly box: { readonly current: HTMLElement | null };
}

const Block = memo(function Block({ messages, before, box }: BlockProps) {
    const own = useRef<HTMLDivElement>(null);
    const [isNear, setNear] = useState(true);
    const [height, setHeight] = useState(messages.length * guessedHeight);
    useEffect(() => {
        const element = own.current;
        if (!element) return undefined;
        const observer = new IntersectionObserver((entries) => {
            const entry = entries[entries.length - 1];
            if (!entry) return;
            if (!entry.isIntersecting) setHeight(entry.boundingClientRect.height);
            setNear(entry.isIntersecting);
        }, { root: box.current, rootMargin: "1200px 0px" });
        observer.observe(element);
        return () => observer.disconnect();
    }, [box]);
    return (
        <div ref={own} className="block" style={isNear ? undefined : { height: `${height}px` }}>
            {isNear && messages.map((message, index) =>
                <Line key={message.messageId} message={message} before={messages[index - 1] ?? before} />)}
        </div>
    );
}, (old, next) => old.messages.length === next.messages.length && old.before?.messageId === next.before?.messageId
    && old.messages[0]?.messageId === next.messages[0]?.messageId);

function Line({ message, before }: { message: Message; before: Message | undefined }) {
    const text = useText();
    const { account } = useMember();
    const at = new Date(message.sentAt);
    const isOwn = message.senderId === account.accountId;
    const isNewDay = !before || new Date(before.sentAt).toDateString() !== at.toDateString();
    const follows = !isNewDay && before?.senderId === message.senderId;
    return (
        <>
            {isNewDay && <p className="day"><span>{text.day(at)}</span></p>}
            <article className={`message ${isOwn ? "own" : ""} ${follows ? "follows" : ""}`}>
                {message.kind === "goodsCard" && <GoodsCard saleId={message.saleId} card={message.card} />}
                {message.text !== "" && <p className="bubble" dir="auto">{message.text}</p>}
                {message.kind === "orderStatus" && message.orderId !== undefined && <OrderCard id={message.orderId} />}
                <time className="when" dateTime={message.sentAt}>{text.time(at)}</time>
            </article>
        </>
    );
}

function PendingMessage({ pending }: { pending: Pending }) {
    const text = useText();
    const { conversations } = useMember();
    useStore(conversations.outbox.pending);
    const { refusal } = pending;
    return (
        <article className="message own pending">
            <p className="bubble" dir="auto">{pending.message.text}</p>
            {refusal ? (
                <div className="trouble" role="alert">
                    <span>{explain(refusal, text)}</span>
                    <button type="button" className="quiet" onClick={() => conversations.outbox.again(pending)}>{text.say("action.tryAgain")}</button>
                    <button type="button" className="quiet" onClick={() => conversations.outbox.drop(pending)}>{text.say("chat.drop")}</button>
                </div>
            ) : <span className="when" role="status">{text.say("chat.sending")}</span>}
        </article>
    );
}
