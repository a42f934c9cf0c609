// A new product: its name by language, and the variants that stock is counted by.
import { useRef, useState } from "react";
import { call } from "../API/Client";
import { newID } from "../API/NewID";
import { Refusal } from "../API/Problem";
import { Field, FormTrouble, useSending } from "../Shell/Form";
import { go } from "../Shell/Route";
import { useText } from "../Shell/useText";
import { TextsIn } from "./TextsIn";

interface Texts { readonly [tag: string]: string }
const said = (texts: Texts) => Object.fromEntries(Object.entries(texts).filter(([, one]) => one.trim() !== ""));

export function ProductForm({ changed }: { changed: () => void }) {
    const text = useText();
    const [name, setName] = useState<Texts>({});
    const [variants, setVariants] = useState<readonly { readonly id: string; readonly code: string; readonly title: Texts }[]>(
        [{ id: newID(), code: "", title: {} }]);
    const sent = useRef({ text: "", key: "" });
    const sending = useSending(async () => {
        const body = { name: said(name), variants: variants.map((one) => ({ code: one.code.trim(), title: said(one.title) })) };
        // The same form is the same product, however often it is sent.
        const key = JSON.stringify(body);
        if (sent.current.text !== key) sent.current = { text: key, key: newID() };
        await call("createProduct", { headers: { "Idempotency-Key": sent.current.key }, body });
        changed();
        go("console", "plan");
    });
    const fields = sending.error instanceof Refusal ? sending.error.problem?.fields?.map((one) => one.field) ?? [] : [];
    const isWrong = (place: string) => fields.some((one) => one === place || one.startsWith(`${place}.`));
    const set = (index: number, change: { code?: string; title?: Texts }) =>
        setVariants(variants.map((one, at) => at === index ? { ...one, ...change } : one));
    return (
        <form className="planning" noValidate onSubmit={sending.submit}>
            <section className="card">
                <TextsIn label="console.nameIn" name="name" value={name} change={setName}
                    problem={isWrong("name") ? text.say("console.wrong.name") : undefined} />
            </section>
            {variants.map((one, index) => (
                <fieldset key={one.id} className="card">
                    <legend className="unseen">{text.say("console.variantNumber", { number: index + 1 })}</legend>
                    <Field label={text.say("console.code")} name="code" value={one.code} change={(code) => set(index, { code })}
                        autoCapitalize="none" spellCheck={false} hint={text.say("console.code.hint")}
                        problem={isWrong(`variants[${index}].code`) ? text.say("console.wrong.code") : undefined} />
                    <TextsIn label="console.nameIn" name="variant" value={one.title} change={(title) => set(index, { title })}
                        problem={isWrong(`variants[${index}].title`) ? text.say("console.wrong.name") : undefined} />
                    {variants.length > 1 && (
                        <button type="button" className="quiet" onClick={() => setVariants(variants.filter((other) => other !== one))}>
                            {text.say("console.removeVariant", { number: index + 1 })}
                        </button>
                    )}
                </fieldset>
            ))}
            {variants.length < 100 && (
                <button type="button" onClick={() => setVariants([...variants, { id: newID(), code: "", title: {} }])}>{text.say("console.addVariant")}</button>
            )}
            <FormTrouble sending={sending} fields={[]} />
            <div className="buttons">
                <button type="submit" className="primary" aria-disabled={sending.isSending}>
                    {sending.isSending ? text.say("state.sending") : text.say("console.save")}
                </button>
            </div>
        </form>
    );
}
