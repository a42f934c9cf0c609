// A sale: what is sold, when it opens by the server's clock, one tap to order, and how it ends.
import { useEffect, useState } from "react";
import type { Stock } from "@api";
import { call } from "../API/Client";
import { Refusal } from "../API/Problem";
import { useStore } from "../API/Store";
import { Forward } from "../Conversations/Forward";
import { AskForNotices } from "../Notifications/Notices";
import { Trouble } from "../Shell/Explain";
import { useSending } from "../Shell/Form";
import { useMember } from "../Shell/Member";
import { Empty, Head } from "../Shell/Parts";
import { to } from "../Shell/Route";
import { useLoaded } from "../Shell/useLoaded";
import { useNow } from "../Shell/useNow";
import { useText } from "../Shell/useText";
import { Countdown, took } from "./Countdown";
import { OrderState } from "./OrderCard";
import { Phone } from "./Phone";
import { isUnderWay, soldOutAfter, stage } from "./Sale";

/** The stock is told at most a second old; a sale that nobody orders from does not change by itself. */
const stockMilliseconds = 1500;

export function SalePage({ id }: { id: string }) {
    const text = useText();
    const member = useMember();
    const now = useNow();
    const [round, setRound] = useState(0);
    const sale = useLoaded((signal) => call("readSale", { path: { id } }, signal), [id, round]);
    const productId = sale.value?.productId;
    const product = useLoaded(async (signal) =>
        productId === undefined ? undefined : call("readProduct", { path: { id: productId } }, signal), [productId]);
    useStore(member.orders.state);
    const order = member.orders.of(id);
    const [variant, setVariant] = useState<string>();
    const at = sale.value ? stage(sale.value.batches, now) : undefined;
    const stock = useStock(id, at?.phase === "open");
    const lines = at?.batch.lines ?? [];
    const chosen = lines.find((one) => one.variant === (order?.variant ?? variant)) ?? lines[0];
    const placing = useSending(async () => {
        if (at && chosen) await member.orders.place(id, at.batch.number, chosen.variant);
    });

    // The catalogue hears that a line is sold out a moment after the stock does.
    const stockOf = (code: string) => stock?.lines.find((one) => one.batch === at?.batch.number && one.variant === code);
    const isSoldOut = lines.length > 0 && lines.every((one) => stockOf(one.variant)?.soldOutAt !== undefined);
    useEffect(() => { if (isSoldOut) setRound((one) => one + 1); }, [isSoldOut]);

    if (sale.error instanceof Refusal && sale.error.status === 404) return <Empty title={text.say("sale.withdrawn")} />;
    if (!sale.value) return sale.error === undefined ? <p className="waiting">{text.say("state.loading")}</p> : <Trouble error={sale.error} again={sale.again} />;
    const soldOut = at ? soldOutAfter(sale.value, at.batch.number) : undefined;
    const nameOf = (code: string) =>
        text.pick(product.value?.variants.find((one) => one.code === code)?.title) || code;
    const chosenStock = chosen && stockOf(chosen.variant);
    return (
        <div className="page sale-page">
            <Head title={text.pick(sale.value.title)} back={to("brands", sale.value.brandId)} />
            <div className="sale">
                <div className="sale-picture">
                    <Phone variant={chosen?.variant ?? ""} title={chosen ? nameOf(chosen.variant) : undefined} />
                </div>
                <div className="stack">
                    <div>
                        <p className="faint">{product.value ? text.pick(product.value.name) : ""}</p>
                        {chosen && <p className="price large">{text.money(chosen.price)}</p>}
                    </div>
                    {at?.phase === "before" && <Countdown until={at.opensAt} label={text.say("sale.opensInLabel")} />}
                    {at?.phase === "open" && soldOut === undefined && <p className="open-now">{text.say("sale.isOpen")}</p>}
                    {soldOut !== undefined && <p className="sold-out" role="status">{text.say("sale.soldOutAfter", { time: took(soldOut, text) })}</p>}
                    {at?.phase === "closed" && <p className="sold-out">{text.say("sale.isClosed")}</p>}
                    {order && <section className="card"><OrderState order={order} waiting={chosenStock?.waiting} /></section>}
                    <fieldset className="variants" disabled={order !== undefined}>
                        <legend>{text.say("sale.variant")}</legend>
                        {lines.map((one) => {
                            const left = stockOf(one.variant)?.free;
                            return (
                                <label key={one.variant} className={one === chosen ? "chosen" : ""}>
                                    <input type="radio" name="variant" value={one.variant} checked={one === chosen}
                                        onChange={() => setVariant(one.variant)} />
                                    <span className="thumb"><Phone variant={one.variant} /></span>
                                    <span className="grow">{nameOf(one.variant)}</span>
                                    <span className="faint">{one.soldOutAt !== undefined || left === 0 ? text.say("sale.soldOut")
                                        : left !== undefined ? text.say("sale.left", { count: left })
                                            : text.say("sale.units", { count: one.units })}</span>
                                </label>
                            );
                        })}
                    </fieldset>
                    {!order && (
                        <form onSubmit={placing.submit} className="order-form">
                            <Trouble error={placing.error} />
                            <button type="submit" className="primary wide big" disabled={at?.phase !== "open"}
                                aria-disabled={placing.isSending}>
                                {placing.isSending ? text.say("state.sending")
                                    : at?.phase === "before" ? text.say("sale.notYet")
                                        : at?.phase === "closed" ? text.say("sale.isClosed")
                                            : soldOut !== undefined || chosenStock?.free === 0 ? text.say("sale.wait") : text.say("sale.order")}
                            </button>
                            <p className="hint">{text.say("sale.hold", { minutes: Math.round(sale.value.holdSeconds / 60) })}</p>
                        </form>
                    )}
                    <Forward saleId={id} title={text.pick(sale.value.title)} />
                    {order && isUnderWay(order) && <AskForNotices why={text.say("notice.whySale")} />}
                </div>
            </div>
        </div>
    );
}

/** What is left, asked for again and again while it matters. Before the first order nobody knows of the sale. */
function useStock(id: string, isOpen: boolean): Stock | undefined {
    const [stock, setStock] = useState<Stock>();
    useEffect(() => {
        if (!isOpen) return undefined;
        const ending = new AbortController();
        let timer = 0;
        const look = async () => {
            if (document.visibilityState === "visible") {
                await call("readStock", { path: { saleId: id } }, ending.signal).then(setStock, () => undefined);
            }
            if (!ending.signal.aborted) timer = window.setTimeout(() => void look(), stockMilliseconds * (0.75 + Math.random() / 2));
        };
        void look();
        return () => {
            clearTimeout(timer);
            ending.abort();
        };
    }, [id, isOpen]);
    return stock;
}
