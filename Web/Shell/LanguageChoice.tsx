// In which language the app speaks, each named in itself.
import { known, speak } from "./Text";
import { useText } from "./useText";

function nameOf(tag: string): string {
    return new Intl.DisplayNames([tag], { type: "language" }).of(tag) ?? tag;
}

export function LanguageChoice() {
    const text = useText();
    return (
        <div className="languages" role="group" aria-label={text.say("language.all")}>
            {known.map((tag) => (
                <button key={tag} type="button" className="quiet" lang={tag} aria-pressed={tag === text.tag}
                    onClick={() => void speak(tag, true)}>{nameOf(tag)}</button>
            ))}
        </div>
    );
}
