import { useLocation } from "@tanstack/react-router";
import { useEffect, useRef } from "react";

/** On a narrow screen a row of links scrolls sideways: the one of this page is in sight. */
export function useActiveInSight() {
  const row = useRef<HTMLElement>(null);
  const { pathname } = useLocation();
  useEffect(() => {
    row.current?.querySelector('[data-status="active"]')?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [pathname]);
  return row;
}
