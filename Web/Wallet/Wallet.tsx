// The wallet: what it holds, what came and went, who may charge it without asking.
import { useState } from "react";
import type { Authorisation, Entries } from "@api";
import { call } from "../API/Client";
import { Refusal } from "../API/Problem";
import { useStore } from "../API/Store";
import { Trouble } from "../Shell/Explain";
import { Field, useSending } from "../Shell/Form";
import { useMember } from "../Shell/Member";
import { Avatar, Empty, Head } from "../Shell/Parts";
import { to } from "../Shell/Route";
import { minorDigits } from "../Shell/Text";
import { useLoaded } from "../Shell/useLoaded";
import { useText } from "../Shell/useText";

type Entry = Entries["items"][number];

export function Wallet() {
    const text = useText();
    const member = useMember();
    const count = useStore(member.walletCount);
    const wallet = useLoaded((signal) => call("readWallet", {}, signal), [count]);
    // It opens a moment after its account.
    const isMissing = wallet.error instanceof Refusal && wallet.error.status === 404;
    const balances = wallet.value?.balances ?? [];
    return (
        <div className="page">
            <Head title={text.say("room.wallet")} />
            <div className="stack">
                <section className="card balance" aria-label={text.say("wallet.balance")}>
                    <p>{text.say("wallet.balance")}</p>
                    {balances.map((one) => <p key={one.currency} className="amount">{text.money(one)}</p>)}
                    {isMissing && <p role="status">{text.say("wallet.opening")}</p>}
                    <p className="note">{text.say("wallet.topUp")}</p>
                </section>
                {!isMissing && <Trouble error={wallet.error} again={wallet.again} />}
                <Authorisations currency={balances[0]?.currency ?? "CNY"} />
                <Statement count={count} />
            </div>
        </div>
    );
}

function Statement({ count }: { count: number }) {
    const text = useText();
    const [older, setOlder] = useState<{ items: readonly Entry[]; cursor?: string | undefined }>();
    const newest = useLoaded((signal) => call("listWalletEntries", { query: { limit: 30 } }, signal), [count]);
    const cursor = older ? older.cursor : newest.value?.nextCursor;
    const more = useSending(async () => {
        const page = await call("listWalletEntries", { query: { limit: 30, cursor } });
        setOlder({ items: [...(older?.items ?? []), ...page.items], cursor: page.nextCursor });
    });
    const known = new Set<string>();
    const items = [...(newest.value?.items ?? []), ...(older?.items ?? [])]
        .filter((one) => !known.has(one.transferId) && known.add(one.transferId));
    return (
        <section className="card">
            <h2>{text.say("wallet.statement")}</h2>
            <Trouble error={newest.error} again={newest.again} />
            {newest.value && items.length === 0 && <p className="faint">{text.say("wallet.nothing")}</p>}
            <ul className="rows">
                {items.map((one) => (
                    <li key={one.transferId}>
                        <div className="grow">
                            <p>{text.say("wallet.entry", { kind: one.kind })}</p>
                            <p className="faint"><time dateTime={one.createdAt}>{text.moment(new Date(one.createdAt))}</time>
                                {one.orderId !== undefined && <> · <a href={to("orders", one.orderId)}>{text.say("order.one")}</a></>}</p>
                        </div>
                        <span className={`sum ${one.amount.amount > 0 ? "in" : ""}`}>{one.amount.amount > 0 ? "+" : ""}{text.money(one.amount)}</span>
                    </li>
                ))}
            </ul>
            {cursor !== undefined && (
                <form onSubmit={more.submit}>
                    <Trouble error={more.error} />
                    <button type="submit" className="quiet" aria-disabled={more.isSending}>{text.say("wallet.older")}</button>
                </form>
            )}
        </section>
    );
}

function Authorisations({ currency }: { currency: Authorisation["limit"]["currency"] }) {
    const text = useText();
    const brands = useLoaded((signal) => call("listBrands", { query: { limit: 100 } }, signal), []);
    const given = useLoaded((signal) => call("listAuthorisations", {}, signal), []);
    const [edited, setEdited] = useState<string>();
    const items = brands.value?.items ?? [];
    const limitOf = (id: string) => given.value?.items.find((one) => one.payeeId === id);
    return (
        <section className="card">
            <h2>{text.say("authorisation.all")}</h2>
            <p className="hint">{text.say("authorisation.what")}</p>
            <Trouble error={brands.error ?? given.error} again={given.error === undefined ? brands.again : given.again} />
            {brands.value && items.length === 0 && <Empty title={text.say("brand.none")} />}
            <ul className="rows">
                {items.map((one) => {
                    const authorisation = limitOf(one.brandId);
                    return (
                        <li key={one.brandId}>
                            <Avatar name={one.displayName} id={one.brandId} isBrand />
                            <div className="grow">
                                <p>{one.displayName}</p>
                                <p className="faint">{authorisation ? text.say("authorisation.upTo", { limit: text.money(authorisation.limit) }) : text.say("authorisation.none")}</p>
                                {edited === one.brandId && (
                                    <Limit id={one.brandId} currency={currency} authorisation={authorisation}
                                        done={() => { setEdited(undefined); given.again(); }} />
                                )}
                            </div>
                            {edited !== one.brandId && (
                                <button type="button" onClick={() => setEdited(one.brandId)}
                                    aria-label={text.say("authorisation.changeOf", { brand: one.displayName })}>
                                    {authorisation ? text.say("authorisation.change") : text.say("authorisation.allow")}
                                </button>
                            )}
                        </li>
                    );
                })}
            </ul>
        </section>
    );
}

/** Whole units of a currency are typed, minor ones are sent. */
function Limit({ id, currency, authorisation, done }: {
    id: string; currency: Authorisation["limit"]["currency"]; authorisation: Authorisation | undefined; done: () => void;
}) {
    const text = useText();
    const digits = minorDigits(currency);
    const [typed, setTyped] = useState(authorisation ? String(authorisation.limit.amount / 10 ** digits) : "5000");
    const [isWrong, setWrong] = useState(false);
    const setting = useSending(async () => {
        const amount = Math.round(Number(typed.replace(",", ".")) * 10 ** digits);
        const isFine = Number.isFinite(amount) && amount > 0 && amount <= 10_000_000_000_000;
        setWrong(!isFine);
        if (!isFine) return;
        await call("authoriseBrand", { path: { payeeId: id }, body: { limit: { amount, currency } } });
        done();
    });
    const withdrawing = useSending(async () => {
        await call("withdrawAuthorisation", { path: { payeeId: id } });
        done();
    });
    return (
        <form onSubmit={setting.submit} noValidate>
            <Field label={text.say("authorisation.limit", { currency })} inputMode="decimal" value={typed} change={setTyped}
                problem={isWrong ? text.say("authorisation.wrong") : undefined} />
            <Trouble error={setting.error ?? withdrawing.error} />
            <div className="buttons">
                <button type="submit" className="primary" aria-disabled={setting.isSending}>{text.say("authorisation.allow")}</button>
                {authorisation && <button type="button" className="danger" onClick={withdrawing.submit}>{text.say("authorisation.withdraw")}</button>}
                <button type="button" onClick={done}>{text.say("action.cancel")}</button>
            </div>
        </form>
    );
}
