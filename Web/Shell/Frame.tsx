// What stands around every page of a member: the way to the others, whether the stream is away, notices.
import { Suspense, lazy, useEffect, useRef } from "react";
import type { ReactNode } from "react";
import { live } from "../API/Events";
import { useStore } from "../API/Store";
import { Brands } from "../Brands/Brands";
import { ChatPages } from "../Conversations/ChatPages";
import { Profile } from "../Identity/Profile";
import { Notices } from "../Notifications/Notices";
import { OrderPages } from "../Sales/OrderPages";
import { SalePage } from "../Sales/SalePage";
import { Wallet } from "../Wallet/Wallet";
import { Broken } from "./Broken";
import { Icon } from "./Icon";
import type { IconName } from "./Icon";
import { useMember } from "./Member";
import { to, useRoute } from "./Route";
import type { Route } from "./Route";
import { useText } from "./useText";
import type { Arguments } from "@texts";

/** Keys of sentences that need nothing. */
export type Plain = { [Key in keyof Arguments]: {} extends Arguments[Key] ? Key : never }[keyof Arguments];

interface Room {
    readonly word: string;
    readonly label: Plain;
    readonly icon: IconName;
    readonly page: (rest: Route) => ReactNode;
}

const rooms: readonly Room[] = [
    { word: "chats", label: "room.chats", icon: "chat", page: (rest) => <ChatPages id={rest[0]} /> },
    { word: "brands", label: "room.brands", icon: "brand", page: (rest) => <Brands id={rest[0]} /> },
    { word: "orders", label: "room.orders", icon: "order", page: (rest) => <OrderPages id={rest[0]} /> },
    { word: "wallet", label: "room.wallet", icon: "wallet", page: () => <Wallet /> },
    { word: "me", label: "room.me", icon: "me", page: () => <Profile /> },
];

const Console = lazy(() => import("../Console/Console"));
/** A brand sells: it has no use for what buyers have. */
const brandRooms: readonly Room[] = [
    { word: "console", label: "room.console", icon: "brand", page: (rest) => <Console id={rest[0]} /> },
    ...rooms.filter((one) => one.word === "chats" || one.word === "me"),
];

export function Frame() {
    const text = useText();
    const route = useRoute();
    const member = useMember();
    const main = useRef<HTMLElement>(null);
    const list = useStore(member.conversations.list);
    const unread = list.items.filter((one) => member.conversations.unread(one) > 0).length;
    const own = member.account.kind === "brand" ? brandRooms : rooms;
    const room = own.find((one) => one.word === route[0]) ?? own[0];
    const isSale = route[0] === "sales" && route[1] !== undefined;
    const page = isSale ? <SalePage key={route[1]} id={route[1] ?? ""} /> : room?.page(route.slice(1));

    const label = isSale ? text.say("room.sale") : text.say(room?.label ?? "room.chats");
    useEffect(() => { document.title = `${unread > 0 ? `(${unread}) ` : ""}${label} · Stampede`; }, [label, unread]);
    // Who goes to another page by a link hears of it.
    const address = route.join("/");
    const before = useRef(address);
    useEffect(() => {
        if (before.current !== address) main.current?.focus({ preventScroll: true });
        before.current = address;
    }, [address]);

    return (
        <div className={`frame ${route.length > 1 ? "inside" : ""}`}>
            <a className="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>
                {text.say("action.skip")}
            </a>
            <nav className="rooms" aria-label={text.say("room.all")}>
                {own.map((one) => (
                    <a key={one.word} href={to(one.word)} aria-current={!isSale && one === room ? "page" : undefined}>
                        <Icon name={one.icon} />
                        <span>{text.say(one.label)}</span>
                        {one.word === "chats" && unread > 0 && (
                            <span className="badge" aria-label={text.say("chat.unread", { count: unread })}>
                                {text.number(unread)}
                            </span>
                        )}
                    </a>
                ))}
            </nav>
            <main id="main" ref={main} tabIndex={-1}>
                <Away />
                <Broken place={address}>
                    <Suspense fallback={<p className="waiting">{text.say("state.loading")}</p>}>{page}</Suspense>
                </Broken>
            </main>
            <Notices />
        </div>
    );
}

/** Says that news may be missing, as long as it is so. */
function Away() {
    const text = useText();
    const isAway = useStore(live) === "away";
    return <div role="status" className="away">{isAway && <span>{text.say("state.away")}</span>}</div>;
}

