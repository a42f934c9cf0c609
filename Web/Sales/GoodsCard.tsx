// A sale within a conversation or a post: what, for how much, from when.
import type { Card } from "@api";
import { to } from "../Shell/Route";
import { useNow } from "../Shell/useNow";
import { useText } from "../Shell/useText";
import { digits } from "./Countdown";
import { Phone } from "./Phone";
import { stage } from "./Sale";

const hour = 3_600_000;

export function GoodsCard({ saleId, card }: { saleId: string | undefined; card: Omit<Card, "productName"> & { productName?: Card["productName"] } | undefined }) {
    const text = useText();
    const openings = card?.batches.map((one) => Date.parse(one.opensAt)) ?? [];
    const closings = card?.batches.map((one) => Date.parse(one.closesAt ?? "")) ?? [];
    const isNear = [...openings, ...closings].some((one) => Math.abs(one - Date.now()) < hour);
    const now = useNow(isNear);
    if (!card || saleId === undefined) return <p className="goods withdrawn">{text.say("sale.withdrawn")}</p>;
    const at = stage(card.batches, now);
    const line = at?.batch.lines.reduce((least, one) => one.price.amount < least.price.amount ? one : least, at.batch.lines[0] ?? { variant: "", price: { amount: 0, currency: "CNY" } });
    const state = !at ? "" : at.phase === "open" ? text.say("sale.isOpen") : at.phase === "closed" ? text.say("sale.isClosed")
        : at.opensAt - now < hour ? text.say("sale.opensIn", { time: digits(at.opensAt - now) })
            : text.say("sale.opensAt", { day: new Date(at.opensAt), time: new Date(at.opensAt) });
    return (
        <a className={`goods ${at?.phase ?? ""}`} href={to("sales", saleId)}>
            <span className="goods-picture"><Phone variant={line?.variant ?? ""} /></span>
            <span className="goods-text">
                <strong>{text.pick(card.title)}</strong>
                {line && <span className="price">{text.say("sale.from", { price: text.money(line.price) })}</span>}
                <span className="state">{state}</span>
            </span>
        </a>
    );
}
