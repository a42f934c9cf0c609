// One conversation: what was said, and what is being written.
import { useCallback, useEffect, useRef, useState } from "react";
import type { FormEvent, KeyboardEvent } from "react";
import { useStore } from "../API/Store";
import { Trouble } from "../Shell/Explain";
import { Icon } from "../Shell/Icon";
import { useMember } from "../Shell/Member";
import { Avatar, Empty } from "../Shell/Parts";
import { to } from "../Shell/Route";
import { useText } from "../Shell/useText";
import { MessageList } from "./MessageList";

/** As the API's document bounds a text. */
const textCharactersMax = 8000;

export function Chat({ id }: { id: string }) {
    const text = useText();
    const { conversations } = useMember();
    const { items, isLoaded } = useStore(conversations.list);
    const thread = useStore(conversations.threads).get(id);
    const pending = useStore(conversations.outbox.pending);
    const conversation = items.find((one) => one.conversationId === id);
    const [error, setError] = useState<unknown>();
    const isKnown = conversation !== undefined;
    const enter = useCallback(() => {
        setError(undefined);
        conversations.enter(id).catch(setError);
    }, [conversations, id]);
    useEffect(() => { if (isKnown) enter(); }, [enter, isKnown]);

    const last = thread?.messages[thread.messages.length - 1]?.sequence ?? 0;
    useEffect(() => {
        const see = () => { if (document.visibilityState === "visible") conversations.read(id, last); };
        see();
        document.addEventListener("visibilitychange", see);
        return () => document.removeEventListener("visibilitychange", see);
    }, [conversations, id, last]);

    if (isLoaded && !conversation) return <Empty title={text.say("problem.notFound")} />;
    if (!conversation) return <p className="waiting">{text.say("state.loading")}</p>;
    const name = conversation.with.displayName ?? text.say("chat.nobody");
    const isBrand = conversation.with.kind === "brand";
    return (
        <div className="chat">
            <header className="head">
                <a className="back round" href={to("chats")} aria-label={text.say("action.back")}><Icon name="back" /></a>
                <Avatar name={name} id={conversation.with.accountId} isBrand={isBrand} />
                <h1>{isBrand ? <a href={to("brands", conversation.with.accountId)}>{name}</a> : name}</h1>
            </header>
            <Trouble error={error} again={enter} />
            {thread ? (
                <MessageList id={id} thread={thread} pending={pending.filter((one) => one.conversationId === id)} />
            ) : <p className="waiting">{error === undefined && text.say("state.loading")}</p>}
            <Composer id={id} name={name} />
        </div>
    );
}

function Composer({ id, name }: { id: string; name: string }) {
    const text = useText();
    const { conversations } = useMember();
    const key = `stampede.draft.${id}`;
    const [draft, setDraft] = useState(() => sessionStorage.getItem(key) ?? "");
    const area = useRef<HTMLTextAreaElement>(null);
    const change = (value: string) => {
        setDraft(value);
        sessionStorage.setItem(key, value);
    };
    useEffect(() => {
        const element = area.current;
        if (!element) return;
        element.style.height = "auto";
        element.style.height = `${Math.min(element.scrollHeight + 2, 160)}px`;
    }, [draft]);
    const characters = [...draft].length;
    const isTooLong = characters > textCharactersMax;
    const send = () => {
        const said = draft.trim();
        if (said === "" || isTooLong) return;
        conversations.outbox.send(id, { kind: "text", text: said });
        change("");
    };
    const submit = (event: FormEvent) => {
        event.preventDefault();
        send();
        area.current?.focus();
    };
    const press = (event: KeyboardEvent) => {
        // Enter that ends the choice of a character is no Enter.
        if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
        event.preventDefault();
        send();
    };
    return (
        <form className="composer" onSubmit={submit}>
            {isTooLong && <p className="wrong" role="alert">{text.say("chat.tooLong", { count: characters - textCharactersMax })}</p>}
            <textarea ref={area} rows={1} value={draft} onChange={(event) => change(event.target.value)} onKeyDown={press}
                aria-label={text.say("chat.write", { name })} placeholder={text.say("chat.message")} />
            <button type="submit" className="round primary" aria-label={text.say("chat.send")}
                aria-disabled={draft.trim() === "" || isTooLong}><Icon name="send" /></button>
        </form>
    );
}
