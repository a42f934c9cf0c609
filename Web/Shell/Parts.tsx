// Parts that many pages are made of.
import type { ReactNode } from "react";
import { Icon } from "./Icon";
import { useText } from "./useText";

/** The first letter of a name on one of eight colours, the same for the same account everywhere. */
export function Avatar({ name, id, isBrand = false }: { name: string; id: string; isBrand?: boolean }) {
    const hue = [...id].reduce((sum, one) => (sum * 31 + one.charCodeAt(0)) % 8, 0);
    return <span className={`avatar hue-${hue} ${isBrand ? "square" : ""}`} aria-hidden="true">{[...name.trim()][0] ?? "·"}</span>;
}

/** The head of a page: its name, and on a phone the way back. */
export function Head({ title, back, children }: { title: ReactNode; back?: string | undefined; children?: ReactNode }) {
    const text = useText();
    return (
        <header className="head">
            {back !== undefined && (
                <a className="back round" href={back} aria-label={text.say("action.back")}><Icon name="back" /></a>
            )}
            <h1>{title}</h1>
            <div className="head-more">{children}</div>
        </header>
    );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
    return <div className="empty"><p className="empty-title">{title}</p>{children}</div>;
}

/** A list beside what was chosen of it; on a phone one of the two. */
export function Panes({ list, detail }: { list: ReactNode; detail: ReactNode }) {
    return (
        <div className={`panes ${detail ? "chosen" : ""}`}>
            <section className="pane-list">{list}</section>
            <section className="pane-detail">{detail}</section>
        </div>
    );
}
