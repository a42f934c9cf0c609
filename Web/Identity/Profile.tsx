// Who one is here: name, language, devices, password, the way out.
import { useState } from "react";
import { call } from "../API/Client";
import { Refusal } from "../API/Problem";
import { session } from "../API/Session";
import { Trouble } from "../Shell/Explain";
import { Field, FormTrouble, useSending } from "../Shell/Form";
import { Icon } from "../Shell/Icon";
import { LanguageChoice } from "../Shell/LanguageChoice";
import { useMember } from "../Shell/Member";
import { Avatar, Head } from "../Shell/Parts";
import { useLoaded } from "../Shell/useLoaded";
import { useText } from "../Shell/useText";

export function Profile() {
    const text = useText();
    const { account } = useMember();
    const leaving = useSending(() => session.signOut());
    return (
        <div className="page">
            <Head title={text.say("room.me")} />
            <div className="stack">
                <section className="card person">
                    <Avatar name={account.displayName} id={account.accountId} />
                    <div><h2>{account.displayName}</h2><p className="faint">{account.handle ? `@${account.handle}` : ""}</p></div>
                </section>
                <section className="card">
                    <h2>{text.say("language.all")}</h2>
                    <LanguageChoice />
                </section>
                <Devices />
                <Password />
                <Deletion />
                <form onSubmit={leaving.submit}>
                    <Trouble error={leaving.error} />
                    <button type="submit" className="wide" aria-disabled={leaving.isSending}>{text.say("signOut.action")}</button>
                </form>
            </div>
        </div>
    );
}

/** What a browser calls itself, in as much as it says something. */
function deviceName(agent: string): string {
    const browser = /(Edg|OPR|Firefox|Chrome|Safari)\//.exec(agent)?.[1];
    const system = /(Android|iPhone|iPad|Windows|Mac OS X|Linux)/.exec(agent)?.[1];
    const names: { readonly [word: string]: string } = { Edg: "Edge", OPR: "Opera", "Mac OS X": "Mac" };
    const known = [browser, system].filter((one): one is string => one !== undefined).map((one) => names[one] ?? one);
    return known.length > 0 ? known.join(" · ") : agent.slice(0, 60);
}

function Devices() {
    const text = useText();
    const sessions = useLoaded((signal) => call("listSessions", {}, signal), []);
    const everywhere = useSending(() => session.signOut(true));
    const [failure, setFailure] = useState<unknown>();
    const end = (id: string) => {
        setFailure(undefined);
        call("endSession", { path: { id } }).then(sessions.again, setFailure);
    };
    const items = sessions.value?.items ?? [];
    return (
        <section className="card">
            <h2>{text.say("device.all")}</h2>
            <Trouble error={sessions.error ?? failure} again={sessions.again} />
            <ul className="rows">
                {items.map((one) => (
                    <li key={one.sessionId}>
                        <Icon name="device" />
                        <div className="grow">
                            <p>{one.device === "unknown" ? text.say("device.unknown") : deviceName(one.device)}</p>
                            <p className="faint">{one.isCurrent ? text.say("device.current")
                                : text.say("device.lastUsed", { when: text.moment(new Date(one.lastUsedAt)) })}</p>
                        </div>
                        {!one.isCurrent && (
                            <button type="button" onClick={() => end(one.sessionId)}>{text.say("device.end")}</button>
                        )}
                    </li>
                ))}
            </ul>
            {items.length > 1 && (
                <form onSubmit={everywhere.submit}>
                    <Trouble error={everywhere.error} />
                    <button type="submit" className="quiet">{text.say("device.endAll")}</button>
                </form>
            )}
        </section>
    );
}

/** Asked for twice: once by a button, once by the password. */
function Deletion() {
    const text = useText();
    const [isAsked, setAsked] = useState(false);
    const [password, setPassword] = useState("");
    const deleting = useSending(async () => {
        await call("deleteOwnAccount", { body: { password } });
        session.leave("out");
    });
    const { error } = deleting;
    const isWrong = error instanceof Refusal && (error.kind === "wrong-password" || error.field("password") !== undefined);
    return (
        <section className="card">
            <h2>{text.say("deletion.title")}</h2>
            <p className="hint">{text.say("deletion.what")}</p>
            {isAsked ? (
                <form onSubmit={deleting.submit} noValidate>
                    <Field label={text.say("password.current")} type="password" value={password} change={setPassword}
                        autoComplete="current-password" problem={isWrong ? text.say("problem.wrongPassword") : undefined} />
                    {!isWrong && <Trouble error={error} />}
                    <div className="buttons">
                        <button type="submit" className="danger" aria-disabled={deleting.isSending}>{text.say("deletion.yes")}</button>
                        <button type="button" onClick={() => setAsked(false)}>{text.say("action.cancel")}</button>
                    </div>
                </form>
            ) : <button type="button" className="danger" onClick={() => setAsked(true)}>{text.say("deletion.action")}</button>}
        </section>
    );
}

function Password() {
    const text = useText();
    const [current, setCurrent] = useState("");
    const [wanted, setWanted] = useState("");
    const [isDone, setDone] = useState(false);
    const sending = useSending(async () => {
        setDone(false);
        await call("changePassword", { body: { currentPassword: current, newPassword: wanted } });
        setCurrent("");
        setWanted("");
        setDone(true);
    });
    const { error } = sending;
    const isWrong = error instanceof Refusal && (error.kind === "wrong-password" || error.field("currentPassword") !== undefined);
    return (
        <section className="card">
            <h2>{text.say("password.title")}</h2>
            <form onSubmit={sending.submit} noValidate>
                <Field label={text.say("password.current")} type="password" value={current} change={setCurrent}
                    autoComplete="current-password" problem={isWrong ? text.say("problem.wrongPassword") : undefined} />
                <Field label={text.say("password.new")} type="password" value={wanted} change={setWanted}
                    autoComplete="new-password" hint={text.say("field.password.hint")}
                    problem={error instanceof Refusal && error.field("newPassword") !== undefined
                        ? text.say("field.password.short") : undefined} />
                {!isWrong && <FormTrouble sending={sending} fields={["newPassword"]} />}
                <button type="submit" aria-disabled={sending.isSending}>{text.say("password.action")}</button>
                <p role="status" className="hint">{isDone && text.say("password.done")}</p>
            </form>
        </section>
    );
}
