// Tells somebody who looks elsewhere: notices of the browser where it was allowed, and lines within the app.
import type { Message, Post } from "@api";
import { Store } from "../API/Store";
import type { Member } from "../Shell/Member";
import { to } from "../Shell/Route";
import { language } from "../Shell/Text";

export interface Notice {
    readonly id: string;
    readonly title: string;
    readonly text: string;
    readonly href: string;
}

const noticesMax = 3;
const shownMilliseconds = 6000;

export type Permission = "unknown" | "granted" | "denied" | "unsupported";

export class Alerts {
    readonly notices = new Store<readonly Notice[]>([]);
    readonly permission = new Store<Permission>(Alerts.current());

    constructor(private readonly member: Member) {}

    private static current(): Permission {
        if (!("Notification" in window)) return "unsupported";
        return Notification.permission === "default" ? "unknown" : Notification.permission;
    }

    /** Asked for when somebody has ordered or follows a brand, by a button that says what for. */
    async ask(): Promise<void> {
        if ("Notification" in window) await Notification.requestPermission();
        this.permission.set(Alerts.current());
    }

    message(message: Message): void {
        const other = this.member.conversations.list.get().items
            .find((one) => one.conversationId === message.conversationId)?.with.displayName;
        const href = to("chats", message.conversationId);
        if (document.visibilityState === "visible" && [href, ...this.placesOf(message)].includes(location.hash)) return;
        this.tell({ id: message.messageId, title: other ?? "Stampede", text: message.text, href });
    }

    /** Pages that show what an order's message is about. */
    private placesOf(message: Message): readonly string[] {
        if (message.orderId === undefined) return [];
        const sale = this.member.orders.state.get().items.find((one) => one.orderId === message.orderId)?.saleId;
        return [to("orders", message.orderId), ...(sale === undefined ? [] : [to("sales", sale)])];
    }

    post(post: Post): void {
        const text = language.get()?.pick(post.text) ?? "";
        const href = to("brands", post.brandId);
        if (location.hash === href && document.visibilityState === "visible") return;
        this.tell({ id: post.messageId, title: language.get()?.say("brand.newPost") ?? "Stampede", text, href });
    }

    dismiss(id: string): void {
        this.notices.update((all) => all.filter((one) => one.id !== id));
    }

    private tell(notice: Notice): void {
        if (document.visibilityState === "hidden" && this.permission.get() === "granted") {
            const shown = new Notification(notice.title, { body: notice.text, tag: notice.id });
            shown.onclick = () => {
                window.focus();
                location.hash = notice.href;
                shown.close();
            };
            return;
        }
        this.notices.update((all) => [...all.filter((one) => one.id !== notice.id), notice].slice(-noticesMax));
        setTimeout(() => this.dismiss(notice.id), shownMilliseconds);
    }
}
