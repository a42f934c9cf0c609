// What stands around signing in and signing up.
import type { ReactNode } from "react";
import { LanguageChoice } from "../Shell/LanguageChoice";
import { Phone } from "../Sales/Phone";
import { useText } from "../Shell/useText";

export function Welcome({ title, children }: { title: string; children: ReactNode }) {
    const text = useText();
    return (
        <main className="welcome">
            <div className="welcome-side" aria-hidden="true">
                <p className="mark">Stampede</p>
                <p className="claim">{text.say("welcome.claim")}</p>
                <div className="welcome-phones"><Phone variant="graphite" /><Phone variant="silver" /><Phone variant="green" /></div>
            </div>
            <div className="welcome-form">
                <p className="mark">Stampede</p>
                <h1>{title}</h1>
                {children}
                <LanguageChoice />
            </div>
        </main>
    );
}
