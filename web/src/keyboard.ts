import { type KeyboardEvent as ReactKeyboardEvent, useEffect, useRef } from "react";

/** Enter and digits belong to the IME while it composes; 229 is what some say instead of isComposing. */
export function composing(event: KeyboardEvent | ReactKeyboardEvent): boolean {
  const native = "nativeEvent" in event ? event.nativeEvent : event;
  return native.isComposing || native.keyCode === 229;
}

/** Enter that ends a composition submits nothing, chooses nothing and presses nothing, in whatever form or list: it is taken before any of them. */
export function holdEnterWhileComposing() {
  window.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !composing(event)) return;
    event.preventDefault();
    event.stopPropagation();
  }, { capture: true });
}

/** Whether that is a field somebody types into. */
export function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "button", "submit"].includes(target.type);
}

/** Plain keys of a page, when nobody types: useKeys({ n: claim }). A dialog or a menu that is open has them all to itself. */
export function useKeys(keys: Record<string, () => void>) {
  const now = useRef(keys);
  now.current = keys;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || composing(event) || typing(event.target)) return;
      if (document.querySelector('[role="dialog"], [role="menu"]')) return;
      const act = now.current[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, []);
}
