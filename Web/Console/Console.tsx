// The brand's console: its sales by their state, its products, and beside them what was chosen.
import { useState } from "react";
import type { Product, Sale } from "@api";
import { call, callForEdit } from "../API/Client";
import { all } from "../API/Pages";
import { stage } from "../Sales/Sale";
import { Trouble } from "../Shell/Explain";
import { useMember } from "../Shell/Member";
import { Empty, Head, Panes } from "../Shell/Parts";
import { to } from "../Shell/Route";
import { useLoaded } from "../Shell/useLoaded";
import { useNow } from "../Shell/useNow";
import { useText } from "../Shell/useText";
import { ProductForm } from "./ProductForm";
import { SaleForm } from "./SaleForm";
import type { Edited } from "./SaleForm";

/** As many as a list shows; a brand has few. */
const itemsMax = 1000;

/** In the order of the list, with what stands above each. */
const states = {
    draft: "console.draft", open: "console.open", before: "console.before", closed: "console.closed",
} as const;
type State = keyof typeof states;
const stateOf = (sale: Sale, now: number): State =>
    sale.status === "draft" ? "draft" : stage(sale.batches, now)?.phase ?? "closed";

export default function Console({ id }: { id: string | undefined }) {
    const text = useText();
    const { account } = useMember();
    const now = useNow();
    const brandId = account.accountId;
    const sales = useLoaded((signal) => all(itemsMax, (cursor) =>
        call("listSales", { query: { brandId, limit: 100, cursor } }, signal)), [brandId]);
    const products = useLoaded((signal) => all(itemsMax, (cursor) =>
        call("listProducts", { query: { brandId, limit: 100, cursor } }, signal)), [brandId]);
    return (
        <Panes
            list={(
                <>
                    <Head title={text.say("room.console")} />
                    <div className="console-actions buttons">
                        <a className="button" href={to("console", "plan")}>{text.say("console.plan")}</a>
                        <a className="button" href={to("console", "product")}>{text.say("console.newProduct")}</a>
                    </div>
                    <Trouble error={sales.error ?? products.error} again={sales.error === undefined ? products.again : sales.again} />
                    {sales.isLoading && !sales.value && <p className="waiting">{text.say("state.loading")}</p>}
                    {sales.value?.length === 0 && <p className="console-none faint">{text.say("console.noSales")}</p>}
                    {(Object.keys(states) as State[]).map((state) => {
                        const some = sales.value?.filter((one) => stateOf(one, now) === state) ?? [];
                        return some.length > 0 && (
                            <section key={state}>
                                <h2 className="console-state">{text.say(states[state])}</h2>
                                <ul className="list">
                                    {some.map((one) => <SaleLine key={one.saleId} sale={one} isChosen={one.saleId === id} />)}
                                </ul>
                            </section>
                        );
                    })}
                    {products.value && products.value.length > 0 && (
                        <section>
                            <h2 className="console-state">{text.say("console.products")}</h2>
                            <ul className="list">
                                {products.value.map((one) => (
                                    <li key={one.productId} className="line">
                                        <span className="line-text">
                                            <strong>{text.pick(one.name)}</strong>
                                            <span className="line-said">{one.variants.map((variant) => text.pick(variant.title)).join(" · ")}</span>
                                        </span>
                                    </li>
                                ))}
                            </ul>
                        </section>
                    )}
                </>
            )}
            detail={id === undefined ? <Empty title={text.say("console.choose")} />
                : id === "product" ? <Page title={text.say("console.newProduct")}><ProductForm changed={products.again} /></Page>
                    : products.value && <Planning key={id === "plan" ? `plan ${products.value[0]?.productId ?? ""}` : id} id={id === "plan" ? undefined : id} products={products.value} changed={sales.again} />} />
    );
}

function SaleLine({ sale, isChosen }: { sale: Sale; isChosen: boolean }) {
    const text = useText();
    const first = sale.batches[0];
    const units = sale.batches.reduce((sum, batch) => sum + batch.lines.reduce((part, line) => part + line.units, 0), 0);
    return (
        <li>
            <a href={to("console", sale.saleId)} className="line" aria-current={isChosen ? "true" : undefined}>
                <span className="line-text">
                    <span className="line-top">
                        <strong>{text.pick(sale.title)}</strong>
                        {first && <time dateTime={first.opensAt}>{text.moment(new Date(first.opensAt))}</time>}
                    </span>
                    <span className="line-said">{text.say("sale.units", { count: units })}</span>
                </span>
            </a>
        </li>
    );
}

function Page({ title, children }: { title: string; children: React.ReactNode }) {
    return <div className="page"><Head title={title} back={to("console")} /><div className="stack">{children}</div></div>;
}

function Planning({ id, products, changed }: { id: string | undefined; products: readonly Product[]; changed: () => void }) {
    const text = useText();
    const read = useLoaded(async (signal): Promise<Edited | undefined> =>
        id === undefined ? undefined : callForEdit("readSale", { path: { id } }, signal), [id]);
    const [kept, setKept] = useState<Edited>();
    const edited = kept ?? read.value;
    const title = edited ? text.pick(edited.value.title) : text.say("console.plan");
    if (products.length === 0) return <Page title={title}><Empty title={text.say("console.noProducts")}><a className="button" href={to("console", "product")}>{text.say("console.newProduct")}</a></Empty></Page>;
    if (id !== undefined && !edited) return <Page title={title}><Trouble error={read.error} again={read.again} /></Page>;
    return (
        <Page title={title}>
            <SaleForm edited={edited} products={products} changed={(now) => {
                setKept(now);
                changed();
            }} />
        </Page>
    );
}
