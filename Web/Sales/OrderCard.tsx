// An order as it stands: it changes as its fate does, and offers what can be done.
import { useEffect, useState } from "react";
import type { Order } from "@api";
import { Refusal } from "../API/Problem";
import { useStore } from "../API/Store";
import { Trouble } from "../Shell/Explain";
import { useSending } from "../Shell/Form";
import { useMember } from "../Shell/Member";
import { to } from "../Shell/Route";
import { useNow } from "../Shell/useNow";
import { useText } from "../Shell/useText";
import type { Language } from "../Shell/Text";
import { digits } from "./Countdown";

export function OrderCard({ id }: { id: string }) {
    const text = useText();
    const { orders } = useMember();
    const { items, isLoaded } = useStore(orders.state);
    const order = items.find((one) => one.orderId === id);
    const [error, setError] = useState<unknown>();
    useEffect(() => { if (isLoaded && !order) orders.read(id).catch(setError); }, [orders, id, isLoaded, order]);
    if (!order) return error === undefined ? null : <Trouble error={error} />;
    return (
        <div className="order-card">
            <OrderState order={order} isBrief />
            <a href={to("orders", id)}>{text.say("order.see")}</a>
        </div>
    );
}

/** What it means for the buyer, in a sentence. */
export function sentence(order: Order, text: Language): string {
    switch (order.status) {
        case "accepted": return text.say("order.accepted");
        case "waitlisted": return text.say("order.waitlisted");
        case "reserved": return text.say("order.reserved");
        case "confirmed": return text.say("order.confirmed");
        case "refunded": return text.say("order.refunded");
        case "rejected": case "released":
            switch (order.reason) {
                case "soldOut": return text.say("order.soldOut");
                case "limitReached": return text.say("order.limitReached");
                case "notOpen": return text.say("order.notOpen");
                case "closed": return text.say("order.closed");
                case "waitlistEnded": return text.say("order.waitlistEnded");
                case "expired": return text.say("order.expired");
                case "paymentFailed": return text.say("order.paymentFailed");
                case "cancelled": return text.say("order.cancelled");
                default: return text.say("order.ended");
            }
    }
}

export function title(order: Order, text: Language): string {
    return text.say("order.status", { status: order.status });
}

/** Status, what is left of the hold, paying, and where there is room for it taking back. */
export function OrderState({ order, waiting, isBrief = false }: {
    order: Order; waiting?: number | undefined; isBrief?: boolean;
}) {
    const text = useText();
    const { orders } = useMember();
    const isHeld = order.status === "reserved" && order.holdUntil !== undefined;
    const now = useNow(isHeld);
    const left = isHeld ? Date.parse(order.holdUntil ?? "") - now : 0;
    const paying = useSending(() => orders.pay(order.orderId));
    const cancelling = useSending(() => orders.cancel(order.orderId));
    const [isAsked, setAsked] = useState(false);
    const canCancel = !isBrief && ["waitlisted", "reserved", "confirmed"].includes(order.status) && order.cancellationRequestedAt === undefined;
    const lacksMoney = paying.error instanceof Refusal && paying.error.kind === "insufficient-funds";
    return (
        <div className={`order-state is-${order.status}`}>
            <div role="status" aria-live="polite">
                <p className="order-title">{title(order, text)}</p>
                <p>{sentence(order, text)}</p>
                {order.status === "waitlisted" && waiting !== undefined && waiting > 0 && (
                    <p>{text.say("order.waiting", { count: waiting })}</p>
                )}
                {order.cancellationRequestedAt !== undefined && order.status !== "released" && order.status !== "refunded" && (
                    <p>{text.say("order.cancelling")}</p>
                )}
            </div>
            {isHeld && (
                <>
                    <p className="hold" aria-label={text.say("order.holdLeft", { time: digits(left) })}>
                        <span>{text.say("order.payWithin")}</span> <strong className="digits">{digits(left)}</strong>
                    </p>
                    <form onSubmit={paying.submit}>
                        <Trouble error={paying.error} />
                        {lacksMoney && <p><a href={to("wallet")}>{text.say("order.toWallet")}</a></p>}
                        <button type="submit" className="primary wide" aria-disabled={paying.isSending || left <= 0}>
                            {paying.isSending ? text.say("state.sending") : text.say("order.pay")}
                        </button>
                    </form>
                </>
            )}
            {canCancel && (isAsked ? (
                <form className="confirm" onSubmit={cancelling.submit}>
                    <Trouble error={cancelling.error} />
                    <p>{text.say("order.cancelSure")}</p>
                    <button type="submit" className="danger" aria-disabled={cancelling.isSending}>{text.say("order.cancelYes")}</button>
                    <button type="button" onClick={() => setAsked(false)}>{text.say("order.cancelNo")}</button>
                </form>
            ) : <button type="button" className="quiet" onClick={() => setAsked(true)}>{text.say("order.cancel")}</button>)}
        </div>
    );
}
