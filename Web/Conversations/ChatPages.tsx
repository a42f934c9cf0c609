// The list of conversations, and beside it the one that was chosen.
import { useState } from "react";
import type { Conversation } from "@api";
import { Refusal } from "../API/Problem";
import { useStore } from "../API/Store";
import { Trouble } from "../Shell/Explain";
import { Field, useSending } from "../Shell/Form";
import { Icon } from "../Shell/Icon";
import { useMember } from "../Shell/Member";
import { Avatar, Empty, Head, Panes } from "../Shell/Parts";
import { go, to } from "../Shell/Route";
import { useText } from "../Shell/useText";
import { Chat } from "./Chat";

export function ChatPages({ id }: { id: string | undefined }) {
    const text = useText();
    return (
        <Panes list={<ConversationList chosen={id} />}
            detail={id ? <Chat key={id} id={id} /> : <Empty title={text.say("chat.choose")} />} />
    );
}

function ConversationList({ chosen }: { chosen: string | undefined }) {
    const text = useText();
    const { conversations } = useMember();
    const { items, isLoaded, error } = useStore(conversations.list);
    const [search, setSearch] = useState("");
    const [isNew, setNew] = useState(false);
    const wanted = search.trim().toLocaleLowerCase();
    const found = wanted === "" ? items : items.filter((one) =>
        `${one.with.displayName ?? ""} ${one.lastMessage?.text ?? ""}`.toLocaleLowerCase().includes(wanted));
    return (
        <>
            <Head title={text.say("room.chats")}>
                <button type="button" className="round quiet" aria-label={text.say("chat.new")} aria-expanded={isNew}
                    onClick={() => setNew(!isNew)}><Icon name={isNew ? "close" : "plus"} /></button>
            </Head>
            {isNew && <NewConversation done={() => setNew(false)} />}
            <div className="search">
                <input type="search" value={search} onChange={(event) => setSearch(event.target.value)}
                    placeholder={text.say("chat.search")} aria-label={text.say("chat.search")} />
            </div>
            <Trouble error={error} again={() => void conversations.load()} />
            {!isLoaded && error === undefined && <p className="waiting">{text.say("state.loading")}</p>}
            {isLoaded && items.length === 0 && (
                <Empty title={text.say("chat.none")}><a href={to("brands")}>{text.say("chat.toBrands")}</a></Empty>
            )}
            {items.length > 0 && found.length === 0 && <Empty title={text.say("chat.notFound")} />}
            <ul className="list">
                {found.map((one) => (
                    <Line key={one.conversationId} conversation={one} isChosen={one.conversationId === chosen}
                        unread={conversations.unread(one)} />
                ))}
            </ul>
        </>
    );
}

function NewConversation({ done }: { done: () => void }) {
    const text = useText();
    const { conversations } = useMember();
    const [handle, setHandle] = useState("");
    const opening = useSending(async () => {
        go("chats", await conversations.open({ handle: handle.trim().replace(/^@/, "") }));
        done();
    });
    const { error } = opening;
    const isUnknown = error instanceof Refusal && error.problem?.fields !== undefined;
    return (
        <form className="new-conversation" onSubmit={opening.submit} noValidate>
            <Field label={text.say("chat.newWith")} name="handle" value={handle} change={setHandle} autoFocus
                autoCapitalize="none" spellCheck={false} problem={isUnknown ? text.say("chat.noSuchHandle") : undefined} />
            {!isUnknown && <Trouble error={error} />}
            <button type="submit" className="primary" aria-disabled={opening.isSending}>{text.say("chat.open")}</button>
        </form>
    );
}

function Line({ conversation, isChosen, unread }: { conversation: Conversation; isChosen: boolean; unread: number }) {
    const text = useText();
    const { account } = useMember();
    const { lastMessage, with: other } = conversation;
    const name = other.displayName ?? text.say("chat.nobody");
    const isOwn = lastMessage?.senderId === account.accountId;
    const said = lastMessage === undefined ? text.say("chat.empty")
        : lastMessage.kind === "goodsCard" && lastMessage.text === "" ? text.pick(lastMessage.card?.title) : lastMessage.text;
    return (
        <li>
            <a href={to("chats", conversation.conversationId)} className="line" aria-current={isChosen ? "true" : undefined}>
                <Avatar name={name} id={other.accountId} isBrand={other.kind === "brand"} />
                <span className="line-text">
                    <span className="line-top">
                        <strong>{name}</strong>
                        <time dateTime={conversation.changedAt}>{text.moment(new Date(conversation.changedAt))}</time>
                    </span>
                    <span className="line-bottom">
                        <span className="line-said">{isOwn ? text.say("chat.you", { text: said }) : said}</span>
                        {unread > 0 && (
                            <span className="badge" aria-label={text.say("chat.unreadMessages", { count: unread })}>
                                {text.number(unread)}
                            </span>
                        )}
                    </span>
                </span>
            </a>
        </li>
    );
}
