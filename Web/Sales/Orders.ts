// The reader's orders, kept current by the stream.
import type { Order } from "@api";
import { call } from "../API/Client";
import { newID } from "../API/NewID";
import { all } from "../API/Pages";
import { Refusal } from "../API/Problem";
import { Store } from "../API/Store";

export interface OrdersState {
    readonly items: readonly Order[];
    readonly isLoaded: boolean;
    readonly error?: unknown;
}

const ordersMax = 500;
/** How long payment may lag behind the chat. */
const unknownMilliseconds = 10_000;

export class Orders {
    readonly state = new Store<OrdersState>({ items: [], isLoaded: false });

    constructor(private readonly account: string) {}

    async load(): Promise<void> {
        try {
            const items = await all(ordersMax, (cursor) => call("listOrders", { query: { limit: 100, cursor } }));
            this.state.set({ items, isLoaded: true });
        } catch (error) {
            this.state.update((old) => ({ ...old, error }));
        }
    }

    take(order: Order): void {
        this.state.update((old) => {
            const isKnown = old.items.some((one) => one.orderId === order.orderId);
            return {
                ...old, items: isKnown
                    ? old.items.map((one) => one.orderId === order.orderId ? order : one) : [order, ...old.items],
            };
        });
    }

    async read(id: string): Promise<void> {
        this.take(await call("readOrder", { path: { id } }));
    }

    /** One tap. Whoever taps again after an answer was lost, even after a reload, orders the same order. */
    async place(saleId: string, batch: number, variant: string): Promise<void> {
        const key = `stampede.order.${this.account}.${saleId}.${batch}.${variant}`;
        const clientOrderId = localStorage.getItem(key) ?? newID();
        localStorage.setItem(key, clientOrderId);
        const order = await call("placeOrder", { body: { clientOrderId, saleId, batch, variant } });
        localStorage.removeItem(key);
        // The stream may have been quicker, and know more.
        if (!this.state.get().items.some((one) => one.orderId === order.orderId)) this.take(order);
    }

    async cancel(id: string): Promise<void> {
        this.take(await call("cancelOrder", { path: { id } }));
    }

    /**
     * An order is paid once, so its ID is the command's key. Payment may hear of a reservation a moment after its buyer: an
     * order that it does not know yet is asked for again for a while.
     */
    async pay(id: string): Promise<void> {
        const lastTry = performance.now() + unknownMilliseconds;
        for (;;) {
            try {
                await call("payOrder", { body: { orderId: id }, headers: { "Idempotency-Key": `pay-${id}` } });
                break;
            } catch (error) {
                const isUnknown = error instanceof Refusal && error.kind === "not-found";
                if (!isUnknown || performance.now() > lastTry) throw error;
            }
            await new Promise((done) => setTimeout(done, 250));
        }
        await this.read(id);
    }

    /** The order that stands for a sale: one that is under way or has come to something, else the last. */
    of(saleId: string): Order | undefined {
        const own = this.state.get().items.filter((one) => one.saleId === saleId);
        return own.find((one) => !["rejected", "released", "refunded"].includes(one.status)) ?? own[0];
    }
}
