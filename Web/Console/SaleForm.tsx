// A sale on a form: planned, saved as a draft, published; afterwards what may still change of it.
import { useEffect, useRef, useState } from "react";
import type { Product, Sale } from "@api";
import { call, callForEdit } from "../API/Client";
import { clock } from "../API/Clock";
import { newID } from "../API/NewID";
import { Refusal } from "../API/Problem";
import { Trouble } from "../Shell/Explain";
import { Field, useSending } from "../Shell/Form";
import { go } from "../Shell/Route";
import { useText } from "../Shell/useText";
import { emptyBatch, placeOf, plan, typed } from "./Plan";
import type { TypedBatch, TypedLine, TypedPlan } from "./Plan";
import { TextsIn } from "./TextsIn";
import { Choice } from "./Choice";

export interface Edited { readonly value: Sale; readonly tag: string }

const hour = 3_600_000;
const problemTexts = {
    opensAt: "console.wrong.opensAt", closesAt: "console.wrong.closesAt", units: "console.wrong.units",
    price: "console.wrong.price", title: "console.wrong.name", holdSeconds: "console.wrong.hold", lines: "console.wrong.lines",
    waitlistMax: "console.wrong.waitlist", currency: "console.wrong.currency", productId: "console.wrong.product",
    batches: "console.wrong.lines",
} as const;

export function SaleForm({ edited, products, changed }: {
    edited: Edited | undefined; products: readonly Product[]; changed: (now: Edited | undefined) => void;
}) {
    const text = useText();
    const sale = edited?.value;
    const isPublic = sale?.status === "published";
    const productOf = (id: string) => products.find((one) => one.productId === id);
    const fresh = (): TypedPlan => {
        const known = sale && productOf(sale.productId);
        if (sale && known) return typed(sale, known);
        const first = products[0];
        return {
            productId: first?.productId ?? "", title: {}, holdMinutes: "15", waitlistMax: "1000", currency: "CNY",
            batches: [emptyBatch(1, first, Math.ceil(clock.now() / hour) * hour + hour)],
        };
    };
    const [form, setForm] = useState(fresh);
    const [wrong, setWrong] = useState<ReadonlySet<string>>(new Set());
    const [isFixed, setFixed] = useState(false);
    const [isSaved, setSaved] = useState(false);
    const [isAsked, setAsked] = useState(false);
    const sent = useRef({ body: "", key: "" });
    const set = (change: Partial<TypedPlan>) => { setSaved(false); setForm((old) => ({ ...old, ...change })); };
    const setBatch = (index: number, change: Partial<TypedBatch>) =>
        set({ batches: form.batches.map((one, at) => at === index ? { ...one, ...change } : one) });
    const setLine = (index: number, line: number, change: Partial<TypedLine>) =>
        setBatch(index, { lines: form.batches[index]?.lines.map((one, at) => at === line ? { ...one, ...change } : one) });

    /** Puts beside the fields what was refused; answers whether it went. */
    const attempt = async (work: () => Promise<void>, places: ReadonlyMap<string, string>): Promise<boolean> => {
        try {
            await work();
            return true;
        } catch (error) {
            if (!(error instanceof Refusal) || !error.problem?.fields?.length) throw error;
            setFixed(error.status === 409);
            setWrong(new Set(error.problem.fields.map((one) => placeOf(one.field, places))));
            return false;
        }
    };
    const send = async (isToPublish: boolean): Promise<void> => {
        setSaved(false);
        setFixed(false);
        const made = plan(form, sale);
        setWrong(made.wrong);
        if (made.wrong.size > 0) return;
        let kept = edited;
        const isKept = await attempt(async () => {
            if (kept) {
                kept = await callForEdit("changeSale", {
                    path: { id: kept.value.saleId }, headers: { "If-Match": kept.tag }, body: made.plan });
            } else {
                // The same form is the same sale, however often it is sent.
                const body = JSON.stringify(made.plan);
                if (sent.current.body !== body) sent.current = { body, key: newID() };
                kept = await callForEdit("createSale", { headers: { "Idempotency-Key": sent.current.key }, body: made.plan });
            }
            changed(kept);
        }, made.places);
        if (!isKept || !kept) return;
        const { value, tag } = kept;
        if (isToPublish && !await attempt(async () => {
            changed(await callForEdit("publishSale", { path: { id: value.saleId }, headers: { "If-Match": tag } }));
        }, made.places)) return;
        setSaved(true);
        go("console", value.saleId);
    };
    const saving = useSending(() => send(false));
    const publishing = useSending(() => send(true));
    const deleting = useSending(async () => {
        if (!edited) return;
        await call("deleteDraft", { path: { id: edited.value.saleId }, headers: { "If-Match": edited.tag } });
        changed(undefined);
        go("console");
    });
    const isSending = saving.isSending || publishing.isSending || deleting.isSending;
    const box = useRef<HTMLFormElement>(null);
    useEffect(() => { box.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus(); }, [wrong]);

    const problem = (place: string): string | undefined => {
        if (!wrong.has(place)) return undefined;
        if (isFixed) return text.say("console.wrong.fixed");
        const word = (place.split(".").pop() ?? "") as keyof typeof problemTexts;
        return text.say(problemTexts[word] ?? "problem.mendFields");
    };
    const product = productOf(form.productId);
    return (
        <form ref={box} className="planning" noValidate onSubmit={(event) => { if (!isSending) saving.submit(event); else event.preventDefault(); }}>
            {isPublic && <p className="remark">{text.say("console.public")}</p>}
            <section className="card">
                <Choice label={text.say("console.product")} value={form.productId} disabled={isPublic} problem={problem("productId")}
                    options={products.map((one) => [one.productId, text.pick(one.name)])}
                    change={(productId) => set({ productId, batches: form.batches.map((one) => ({
                        ...one, lines: emptyBatch(one.number, productOf(productId), 0).lines })) })} />
                <TextsIn label="console.titleIn" name="title" value={form.title} change={(title) => set({ title })} problem={problem("title")} />
                <div className="pair">
                    <Field label={text.say("console.hold")} name="hold" inputMode="decimal" value={form.holdMinutes}
                        change={(holdMinutes) => set({ holdMinutes })} problem={problem("holdSeconds")} />
                    <Field label={text.say("console.waitlist")} name="waitlist" inputMode="numeric" value={form.waitlistMax}
                        change={(waitlistMax) => set({ waitlistMax })} problem={problem("waitlistMax")} />
                    <Field label={text.say("console.currency")} name="currency" value={form.currency} maxLength={3} autoCapitalize="characters"
                        change={(currency) => set({ currency })} problem={problem("currency")} />
                </div>
            </section>
            {form.batches.map((batch, index) => {
                const place = `batches[${index}]`;
                const isNew = !isPublic || !sale?.batches.some((one) => one.number === batch.number);
                return (
                    <fieldset key={batch.number} className="card">
                        <legend className="unseen">{text.say("console.batch", { number: batch.number })}</legend>
                        <div className="batch-head" aria-hidden="true"><h2>{text.say("console.batch", { number: batch.number })}</h2></div>
                        <div className="pair">
                            <Field label={text.say("console.opensAt")} type="datetime-local" step={1} name="opensAt" value={batch.opensAt}
                                change={(opensAt) => setBatch(index, { opensAt })}
                                problem={problem(`${place}.opensAt`) ?? problem(`${place}.number`)} />
                            <Field label={text.say("console.closesAt")} type="datetime-local" step={1} name="closesAt" value={batch.closesAt}
                                change={(closesAt) => setBatch(index, { closesAt })} problem={problem(`${place}.closesAt`)}
                                hint={text.say("console.closesAt.hint")} />
                        </div>
                        {batch.lines.map((line, at) => (
                            <div key={line.variant} className="line-plan" role="group" aria-label={line.variant}>
                                <p>{text.pick(product?.variants.find((one) => one.code === line.variant)?.title) || line.variant}</p>
                                <Field label={text.say("console.units")} name="units" inputMode="numeric" value={line.units}
                                    change={(units) => setLine(index, at, { units })} problem={problem(`${place}.lines[${at}].units`)} />
                                <Field label={text.say("console.price")} name="price" inputMode="decimal" value={line.price}
                                    change={(price) => setLine(index, at, { price })} problem={problem(`${place}.lines[${at}].price`)} />
                            </div>
                        ))}
                        {wrong.has(`${place}.lines`) && <p className="wrong" role="alert">{problem(`${place}.lines`)}</p>}
                        {isNew && form.batches.length > 1 && (
                            <button type="button" className="quiet" onClick={() => set({ batches: form.batches.filter((one) => one !== batch) })}>
                                {text.say("console.remove", { number: batch.number })}
                            </button>
                        )}
                    </fieldset>
                );
            })}
            {wrong.has("batches") && <p className="wrong" role="alert">{problem("batches")}</p>}
            {form.batches.length < 100 && (
                <button type="button" onClick={() => {
                    const last = form.batches[form.batches.length - 1];
                    const opensAt = Date.parse(last?.opensAt ?? "");
                    set({ batches: [...form.batches, emptyBatch(
                        (last?.number ?? 0) + 1, product, (Number.isNaN(opensAt) ? clock.now() : opensAt) + 86_400_000)] });
                }}>{text.say("console.addBatch")}</button>
            )}
            <Trouble error={saving.error ?? publishing.error ?? deleting.error} />
            {wrong.size > 0 && <p className="trouble" role="alert">{text.say("problem.mendFields")}</p>}
            <div className="buttons">
                {!isPublic && (
                    <button type="button" className="primary publish" aria-disabled={isSending}
                        onClick={(event) => { if (!isSending) publishing.submit(event); }}>{text.say("console.publish")}</button>
                )}
                <button type="submit" className={isPublic ? "primary" : ""} aria-disabled={isSending}>
                    {isSending ? text.say("state.sending") : text.say(isPublic ? "console.save" : "console.saveDraft")}
                </button>
                {sale && !isPublic && !isAsked && (
                    <button type="button" className="danger" onClick={() => setAsked(true)}>{text.say("console.delete")}</button>
                )}
            </div>
            {isAsked && !isPublic && (
                <div className="confirm">
                    <p>{text.say("console.deleteSure")}</p>
                    <button type="button" className="danger" onClick={(event) => { if (!isSending) deleting.submit(event); }}>{text.say("console.yesDelete")}</button>
                    <button type="button" onClick={() => setAsked(false)}>{text.say("action.cancel")}</button>
                </div>
            )}
            {!isPublic && <p className="hint">{text.say("console.publishHint")}</p>}
            <p role="status" className="hint">{isSaved && text.say("console.saved")}</p>
        </form>
    );
}
