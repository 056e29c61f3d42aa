import type { Screen } from '../../screens.ts';

export const screen: Screen = {
  paths: ['/executions'],
  title: { en: 'Executions', de: 'Ausführungen' },
  needs: 'executions:read',
  menu: { at: 4, key: 'x' },
  load: () => import('./Screen.svelte'),
};
