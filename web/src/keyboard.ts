import { type KeyboardEvent as ReactKeyboardEvent, useEffect, useRef } from "react";

/** Enter and digits belong to the IME while it composes; 229 is what some say instead of isComposing. */
export function composing(event: KeyboardEvent | ReactKeyboardEvent): boolean {
  const native = "nativeEvent" in event ? event.nativeEvent : event;
  return native.isComposing || native.keyCode === 229;
}

/** For forms: Enter that ends a composition submits nothing. */
export function holdEnterWhileComposing(event: ReactKeyboardEvent) {
  if (event.key === "Enter" && composing(event)) {
    event.preventDefault();
    event.stopPropagation();
  }
}

function typing(target: EventTarget | null): boolean {
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
