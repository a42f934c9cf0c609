// What a refusal means for a person, and what to do next.
import { Refusal } from "../API/Problem";
import type { Language } from "./Text";
import { useText } from "./useText";

/** A sentence for whatever was refused. What the service says in English is for programmers: it is not shown. */
export function explain(error: unknown, text: Language): string {
    if (!(error instanceof Refusal)) return text.say("problem.unknown");
    switch (error.kind) {
        case "no-answer": return text.say("problem.noAnswer");
        case "wrong-credentials": return text.say("problem.wrongCredentials");
        case "wrong-password": return text.say("problem.wrongPassword");
        case "handle-taken": return text.say("problem.handleTaken");
        case "too-many-requests": return text.say("problem.tooMany", { seconds: error.retryAfterSeconds });
        case "insufficient-funds": return text.say("problem.insufficientFunds");
        case "hold-over": return text.say("problem.holdOver");
        case "already-paid": return text.say("problem.alreadyPaid");
        case "order-ended": return text.say("problem.orderEnded");
        case "sale-closed": return text.say("problem.saleClosed");
        case "sale-not-open": return text.say("problem.saleNotOpen");
        case "sale-not-found": case "not-found": return text.say("problem.notFound");
        case "no-password": return text.say("problem.noPassword");
        case "too-many-authorisations": return text.say("problem.tooManyAuthorisations");
        case "precondition-failed": return text.say("problem.changedSince");
        case "forbidden": return text.say("problem.forbidden");
        case "refresh-token-refused": case "unauthorized": return text.say("problem.sessionOver");
        case "payload-too-large": return text.say("problem.tooLong");
        case "bad-request": case "unprocessable": return text.say("problem.mendFields");
        case "unavailable": return text.say("problem.unavailable", { seconds: error.retryAfterSeconds });
        default: return error.problem?.traceId
            ? text.say("problem.unknownTrace", { trace: error.problem.traceId }) : text.say("problem.unknown");
    }
}

/** Where it went wrong, said to a screen reader as well; with a way to try again where that may help. */
export function Trouble({ error, again }: { error: unknown; again?: (() => void) | undefined }) {
    const text = useText();
    if (error === undefined) return null;
    return (
        <div className="trouble" role="alert">
            <span>{explain(error, text)}</span>
            {again && <button type="button" className="quiet" onClick={again}>{text.say("action.tryAgain")}</button>}
        </div>
    );
}
