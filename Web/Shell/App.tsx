// Who is there, and so which pages.
import { useEffect, useState } from "react";
import { Refusal } from "../API/Problem";
import { session } from "../API/Session";
import { useStore } from "../API/Store";
import { SignIn } from "../Identity/SignIn";
import { SignUp } from "../Identity/SignUp";
import { Trouble } from "./Explain";
import { Frame } from "./Frame";
import { Member, MemberContext } from "./Member";
import { useRoute } from "./Route";
import { language } from "./Text";

const retryMilliseconds = 2000;

export function App() {
    const state = useStore(session.state);
    const [error, setError] = useState<unknown>();
    const [round, setRound] = useState(0);
    const [first] = useRoute();
    useStore(language);

    useEffect(() => {
        let timer = 0;
        session.begin().then(() => setError(undefined), (refusal: unknown) => {
            setError(refusal);
            if (refusal instanceof Refusal) {
                timer = window.setTimeout(() => setRound((one) => one + 1), retryMilliseconds);
            }
        });
        return () => clearTimeout(timer);
    }, [round]);

    switch (state.kind) {
        case "unknown": return <main className="welcome"><Trouble error={error} /></main>;
        case "out": return first === "sign-up" ? <SignUp /> : <SignIn isOver={false} />;
        case "over": return <SignIn isOver />;
        case "in": return state.account ? <Inside key={state.account.accountId} account={state.account} /> : null;
    }
}

function Inside({ account }: { account: ConstructorParameters<typeof Member>[0] }) {
    const [member, setMember] = useState<Member>();
    useEffect(() => {
        const made = new Member(account);
        made.start();
        setMember(made);
        return () => made.stop();
    }, [account]);
    if (!member) return null;
    return <MemberContext.Provider value={member}><Frame /></MemberContext.Provider>;
}
