import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Executions' });

export const screen: Screen = {
  paths: ['/executions'],
  title,
  needs: 'executions:read',
  menu: { at: 4, key: 'x' },
  load: () => import('./Screen.svelte'),
};
