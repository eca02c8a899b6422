export const Checks = () => null;
export const Check = () => null;
