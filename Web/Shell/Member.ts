// What is known to whoever is signed in, and the stream that keeps it current.
import { createContext, useContext } from "react";
import type { Account, Message, Order, Post } from "@api";
import { EventReader } from "../API/Events";
import type { Listener } from "../API/Events";
import { Store } from "../API/Store";
import { Conversations } from "../Conversations/Conversations";
import { Alerts } from "../Notifications/Alerts";
import { Orders } from "../Sales/Orders";

/** Lists are read when the stream stands; where it does not, they are not waited for longer. */
const patienceMilliseconds = 1000;

export class Member implements Listener {
    readonly conversations: Conversations;
    readonly orders: Orders;
    readonly alerts: Alerts;
    /** Rises with each post that comes, and when the wallet may hold something else: pages read anew. */
    readonly postCount = new Store(0);
    readonly walletCount = new Store(0);
    private readonly reader = new EventReader(this);
    private isBegun = false;
    private timer = 0;

    constructor(readonly account: Account) {
        this.conversations = new Conversations(account.accountId);
        this.orders = new Orders(account.accountId);
        this.alerts = new Alerts(this);
    }

    start(): void {
        this.reader.start();
        this.timer = window.setTimeout(() => { if (!this.isBegun) this.load(); }, patienceMilliseconds);
    }

    stop(): void {
        clearTimeout(this.timer);
        this.reader.stop();
        this.conversations.close();
    }

    private load(): void {
        void this.conversations.load();
        void this.orders.load();
        this.postCount.update((one) => one + 1);
        this.walletCount.update((one) => one + 1);
    }

    begun(): void {
        this.isBegun = true;
        this.load();
    }

    message(message: Message): void {
        this.conversations.take(message);
        if (message.senderId !== this.account.accountId) this.alerts.message(message);
    }

    post(post: Post): void {
        this.postCount.update((one) => one + 1);
        this.alerts.post(post);
    }

    order(order: Order): void {
        this.orders.take(order);
        this.walletCount.update((one) => one + 1);
    }
}

export const MemberContext = createContext<Member | undefined>(undefined);

export function useMember(): Member {
    const member = useContext(MemberContext);
    if (!member) throw new Error("a page of a member is drawn for one who is signed in");
    return member;
}
