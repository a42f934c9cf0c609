// The same text in each language of the app: one is enough, and what is there in others stays.
import { Field } from "../Shell/Form";
import { known } from "../Shell/Text";
import { useText } from "../Shell/useText";

interface Texts { readonly [tag: string]: string }

export function TextsIn({ label, name, value, change, problem }: {
    label: "console.titleIn" | "console.nameIn"; name: string; value: Texts; change: (value: Texts) => void; problem: string | undefined;
}) {
    const text = useText();
    const names = new Intl.DisplayNames([text.tag], { type: "language" });
    return (
        <div className="pair">
            {known.map((tag, index) => (
                <Field key={tag} label={text.say(label, { language: names.of(tag) ?? tag })} name={`${name}-${tag}`} lang={tag} dir="auto"
                    value={value[tag] ?? ""} change={(one) => change({ ...value, [tag]: one })} maxLength={2000}
                    problem={index === 0 ? problem : undefined} />
            ))}
        </div>
    );
}
