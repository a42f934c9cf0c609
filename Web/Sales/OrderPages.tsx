// The reader's orders, and beside them the one that was chosen.
import type { Order } from "@api";
import { call } from "../API/Client";
import { useStore } from "../API/Store";
import { Trouble } from "../Shell/Explain";
import { useMember } from "../Shell/Member";
import { Empty, Head, Panes } from "../Shell/Parts";
import { to } from "../Shell/Route";
import { useLoaded } from "../Shell/useLoaded";
import { useText } from "../Shell/useText";
import { OrderState, title } from "./OrderCard";
import { Phone } from "./Phone";

export function OrderPages({ id }: { id: string | undefined }) {
    const text = useText();
    const { orders } = useMember();
    const { items, isLoaded, error } = useStore(orders.state);
    const chosen = items.find((one) => one.orderId === id);
    return (
        <Panes
            list={(
                <>
                    <Head title={text.say("room.orders")} />
                    <Trouble error={error} again={() => void orders.load()} />
                    {!isLoaded && error === undefined && <p className="waiting">{text.say("state.loading")}</p>}
                    {isLoaded && items.length === 0 && (
                        <Empty title={text.say("order.none")}><a href={to("brands")}>{text.say("chat.toBrands")}</a></Empty>
                    )}
                    <ul className="list">
                        {items.map((one) => (
                            <li key={one.orderId}>
                                <a href={to("orders", one.orderId)} className="line" aria-current={one.orderId === id ? "true" : undefined}>
                                    <span className="thumb"><Phone variant={one.variant ?? ""} /></span>
                                    <span className="line-text">
                                        <span className="line-top">
                                            <strong>{one.variant}</strong>
                                            <time dateTime={one.acceptedAt}>{text.moment(new Date(one.acceptedAt))}</time>
                                        </span>
                                        <span className={`chip is-${one.status}`}>{title(one, text)}</span>
                                    </span>
                                </a>
                            </li>
                        ))}
                    </ul>
                </>
            )}
            detail={chosen ? <OrderDetail key={chosen.orderId} order={chosen} />
                : <Empty title={id !== undefined && isLoaded ? text.say("problem.notFound") : text.say("order.choose")} />} />
    );
}

function OrderDetail({ order }: { order: Order }) {
    const text = useText();
    const sale = useLoaded((signal) => call("readSale", { path: { id: order.saleId } }, signal), [order.saleId]);
    const productId = sale.value?.productId;
    const product = useLoaded(async (signal) =>
        productId === undefined ? undefined : call("readProduct", { path: { id: productId } }, signal), [productId]);
    const variant = text.pick(product.value?.variants.find((one) => one.code === order.variant)?.title) || order.variant;
    return (
        <div className="page">
            <Head title={text.say("order.one")} back={to("orders")} />
            <div className="stack">
                <section className="card order-detail">
                    <span className="thumb large"><Phone variant={order.variant ?? ""} /></span>
                    <div className="grow">
                        <h2>{sale.value ? text.pick(sale.value.title) : order.variant}</h2>
                        <p className="faint">{variant}</p>
                        <p className="faint">{text.say("order.at", { day: new Date(order.acceptedAt), time: new Date(order.acceptedAt) })}</p>
                    </div>
                </section>
                <section className="card"><OrderState order={order} /></section>
                <a className="button" href={to("sales", order.saleId)}>{text.say("order.toSale")}</a>
            </div>
        </div>
    );
}
